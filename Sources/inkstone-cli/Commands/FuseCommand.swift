import ArgumentParser
import Inkstone

/// `inkstone fuse`: a model with an adapter merged into it.
struct FuseCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fuse",
    abstract: "Merge an adapter into its model: a folder that needs no adapter any more.",
    discussion: """
      Examples:
        inkstone fuse -m MODEL --lora runs/lora/model -o FOLDER
        inkstone fuse -m MODEL --lora ADAPTER -o FOLDER --outtype bf16

      The adapter is one of inkstone finetune --lora, or of PEFT. Matrices become
      W + s·B·A; everything else stays as it is. Tokenizer, chat template and
      generation settings are the adapter's where it has them, else the model's.
      """)

  @OptionGroup var model: ModelOptions
  @OptionGroup var adapter: AdapterOptions

  @Option(
    name: [.short, .customLong("output")], help: ArgumentHelp("Folder to write.", valueName: "folder"))
  var output: String

  @Option(help: ArgumentHelp("f32, f16 or bf16.", valueName: "type"))
  var outtype = "f32"

  func run() throws {
    guard let lora = adapter.lora else { throw UsageError("no adapter: give its folder with --lora") }
    guard let type = CheckpointExport.OutputType(rawValue: outtype.lowercased()) else {
      throw UsageError("--outtype \(outtype): a folder holds f32, f16 or bf16")
    }
    let folder = output.hasSuffix("/") ? output : output + "/"
    for name in ["config.json", "model.safetensors"] where fileExists(folder + name) {
      throw UsageError("\(output): holds \(name) already; give an empty folder")
    }
    let notes = try ModelConversion.writeFolder(
      from: try model.resolvedFolder(), to: output, as: type, adapter: lora)
    for note in notes { Diagnostics.log.notice("\(note)") }
  }
}
