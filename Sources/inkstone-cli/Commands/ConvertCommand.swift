import ArgumentParser
import Inkstone

/// `inkstone convert`: a model in another form.
struct ConvertCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert",
    abstract: "Write a model as a GGUF file, or as a folder of another element type.",
    discussion: """
      Examples:
        inkstone convert -m MODEL -o model.gguf
        inkstone convert -m MODEL -o model-q8_0.gguf --outtype q8_0
        inkstone convert -m model.gguf -o FOLDER --outtype bf16
        inkstone convert -m MODEL -o FOLDER --outtype f16

      An output that ends in .gguf becomes a GGUF file that llama.cpp loads; any
      other becomes a folder with config.json, model.safetensors and the
      tokenizer. In a GGUF file vectors, norms and routers stay f32, and
      matrices whose rows blocks do not divide fall back as in llama.cpp; types of
      4 and 5 bits give the head 6. `inkstone quantize` says what such types cost.
      What llama.cpp will not compute as the model does is said on
      standard error; this program reads it all the same.
      """)

  @OptionGroup var model: ModelOptions

  @Option(
    name: [.short, .customLong("output"), .customLong("outfile")],
    help: ArgumentHelp("What to write.", valueName: "path"))
  var output: String

  @Option(
    help: ArgumentHelp(
      "f32, f16, bf16; for GGUF q8_0, q4_0, q5_0, q4_K, q5_K, q6_K besides.", valueName: "type"))
  var outtype = "f32"

  @Flag(help: "Leave the tokenizer and the chat template out of a GGUF file.")
  var noVocabulary = false

  @Flag(name: .shortAndLong, help: "Say nothing but errors.")
  var quiet = false

  func run() throws {
    Diagnostics.configure(verbose: false, quiet: quiet)
    let source = try model.resolvedFolder()
    for note in try output.hasSuffix(".gguf") ? writeGGUF(source) : writeFolder(source) {
      Diagnostics.log.notice("\(source): \(note)")
    }
  }

  private func writeGGUF(_ source: String) throws -> [String] {
    guard let type = GGUFExport.OutputType(name: outtype) else {
      let known = GGUFExport.OutputType.allCases.map(\.rawValue).joined(separator: ", ")
      throw UsageError("--outtype \(outtype): GGUF is written as \(known)")
    }
    guard !folderExists(output) else { throw UsageError("\(output): is a folder; give the path of a file") }
    return try ModelConversion.writeGGUF(
      from: source, to: output, as: type, includesVocabulary: !noVocabulary)
  }

  private func writeFolder(_ source: String) throws -> [String] {
    guard let type = CheckpointExport.OutputType(rawValue: outtype.lowercased()) else {
      throw UsageError(
        "--outtype \(outtype): a folder holds f32, f16 or bf16; for other types end --output in .gguf")
    }
    try ConvertCommand.refuseExistingModel(output)
    return try ModelConversion.writeFolder(from: source, to: output, as: type)
  }

  /// Refuses to write over a model.
  static func refuseExistingModel(_ output: String) throws {
    if fileExists(output), !folderExists(output) {
      throw UsageError("\(output): is no folder; give a new one, or a name that ends in .gguf")
    }
    let folder = output.hasSuffix("/") ? output : output + "/"
    for name in ["config.json", "model.safetensors"] where fileExists(folder + name) {
      throw UsageError("\(output): holds \(name) already; give an empty folder")
    }
  }
}
