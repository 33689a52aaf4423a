import ArgumentParser
import Inkstone

/// `inkstone inspect`: what a model folder holds, from its headers alone.
struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Show what a model folder holds: family, shapes, types, memory it will need.",
    discussion: """
      Examples:
        inkstone inspect -m MODEL
        inkstone inspect -m MODEL --tensors
        inkstone inspect -m MODEL --json

      Keys of --json: "path", "model_type", "configuration" (sizes in the
      field's terms), "parameters", "weight_types" (bytes per type),
      "weight_bytes", "memory" with "weights_bytes", "cache_bytes_per_position"
      and "cache_bytes_full_context", "tokenizer" (vocabulary size, or null),
      "files", "unknown_fields", and with --tensors "tensors", each with "name",
      "type", "shape", "file".
      """)

  @OptionGroup var model: ModelOptions

  @Flag(help: "List every tensor.")
  var tensors = false

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    let inspection = try ModelInspection(folder: try model.resolvedFolder())
    if json {
      try StandardStreams.write(inspection.json(withTensors: tensors).text(.indented) + "\n")
    } else {
      try StandardStreams.write(inspection.text(withTensors: tensors) + "\n")
    }
  }
}
