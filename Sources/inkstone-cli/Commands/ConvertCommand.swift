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

      An output that ends in .gguf becomes a GGUF file that llama.cpp loads;
      any other becomes a folder with config.json and model.safetensors. In a
      GGUF file vectors stay f32, and matrices whose rows blocks of 32 do not
      divide become f16. From a folder to a folder the tokenizer's files are
      copied; a GGUF file's vocabulary stays in the GGUF file.
      """)

  @OptionGroup var model: ModelOptions

  @Option(name: [.short, .long], help: ArgumentHelp("What to write.", valueName: "path"))
  var output: String

  @Option(help: ArgumentHelp("f32, f16, bf16; for GGUF q8_0 and q4_0 besides.", valueName: "type"))
  var outtype = "f32"

  @Flag(help: "Leave the vocabulary out of a GGUF file.")
  var noVocabulary = false

  func run() throws {
    let source = try model.resolvedFolder()
    if output.hasSuffix(".gguf") {
      try writeGGUF(source)
    } else {
      guard let type = CheckpointExport.OutputType(rawValue: outtype) else {
        throw UsageError(
          "--outtype \(outtype): a folder holds f32, f16 or bf16; for other types end --output in .gguf")
      }
      guard !fileExists(joined(output, "config.json")) else {
        throw UsageError("\(output): holds a model already; give an empty folder")
      }
      try CheckpointExport.write(model: source, to: output, as: type)
      if !GGUFFile.recognises(source) {
        for name in [
          "tokenizer.json", "tokenizer_config.json", "generation_config.json", "tokenizer.model", "vocab.txt",
          "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
        ] where fileExists(joined(source, name)) {
          let bytes = try readFile(joined(source, name))
          try bytes.withUnsafeBytes { try AtomicFile.write($0, to: joined(output, name)) }
        }
      }
    }
  }

  private func writeGGUF(_ source: String) throws {
    guard let type = GGUFExport.OutputType(rawValue: outtype) else {
      let known = GGUFExport.OutputType.allCases.map(\.rawValue).joined(separator: ", ")
      throw UsageError("--outtype \(outtype): GGUF is written as \(known)")
    }
    guard !GGUFFile.recognises(source) else {
      throw UsageError("\(source): is a GGUF file already; convert it to a folder, and that to GGUF")
    }
    let export = try GGUFExport(folder: source)
    let description = try ModelDescription.load(from: source)
    let vocabulary =
      noVocabulary
      ? (metadata: [], note: nil)
      : try GGUFVocabularyExport.metadata(
        folder: source, vocabularySize: description.configuration.vocabularySize)
    if let note = vocabulary.note { Diagnostics.log.notice("\(note)") }
    let name = source.split(separator: "/").last.map(String.init) ?? "model"
    try export.write(to: output, as: type, name: name, vocabulary: vocabulary.metadata)
  }

  private func joined(_ folder: String, _ name: String) -> String {
    folder.hasSuffix("/") ? folder + name : folder + "/" + name
  }
}
