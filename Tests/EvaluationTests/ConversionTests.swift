import Inkstone
import JSON
import Testing
import _TestSupport

/// Models in other forms are the same models.
@Suite struct ConversionTests {
  /// What a family's models become as GGUF: how many hold against transformers, and why others cannot be written.
  private struct Outcome {
    var held = 0
    var refusals: [String] = []
  }

  private func modelType(_ name: String) throws -> String {
    try ModelDescription.load(from: "\(Fixtures.root)/\(name)").configuration.modelType
  }

  private func expectAllHolds(_ model: String, _ name: String) throws {
    let report = try Fixtures.verify(
      model, engine: BLASEngine(threadCount: 2), reference: "\(Fixtures.root)/\(name)/reference")
    #expect(report.passedCount > 0)
    for check in report.checks {
      if case .failed(let place) = check.verdict {
        Issue.record("\(name), \(check.caseName), \(check.subject): \(place)")
      }
    }
  }

  /// Every committed model is written as GGUF and read back, and gives transformers' numbers; those that GGUF cannot
  /// express are refused, and each family that GGUF has a name for has models that are not.
  @Test func modelsThroughGGUFGiveTheSameNumbers() throws {
    let folder = try TemporaryFolder()
    var outcomes: [String: Outcome] = [:]
    for name in Fixtures.names {
      let type = try modelType(name)
      let path = folder("model.gguf")
      do {
        _ = try ModelConversion.writeGGUF(
          from: "\(Fixtures.root)/\(name)", to: path, as: .f32, includesVocabulary: false)
      } catch let error as GGUFExportError {
        #expect(error.description.contains(name), "the message names no model: \(error)")
        outcomes[type, default: Outcome()].refusals.append("\(name): \(error)")
        continue
      }
      #expect(ModelDescription.ggufArchitecture(ofModelType: type) != nil, "\(name)")
      try expectAllHolds(path, name)
      outcomes[type, default: Outcome()].held += 1
    }
    for type in ModelDescription.knownModelTypes {
      let outcome = outcomes[type] ?? Outcome()
      #expect(
        (outcome.held > 0) == (ModelDescription.ggufArchitecture(ofModelType: type) != nil),
        "\(type): \(outcome.held) models held; \(outcome.refusals)")
    }
  }

  /// GGUF and back again: rows that GGUF keeps in another order or another number of tensors are where they were.
  @Test(arguments: [
    "bloom-seven-heads", "falcon-multi-query", "gemma2-caps", "gpt2-plain", "llama-linear", "mixtral",
    "qwen3",
    "stablelm",
  ])
  func aFolderMadeOfGGUFIsTheModel(name: String) throws {
    // Names after the family stand for whichever of its models comes first.
    let name = try #require(
      Fixtures.names.first { $0 == name } ?? Fixtures.names.first { $0.hasPrefix(name) })
    let folder = try TemporaryFolder()
    let path = folder("model.gguf")
    _ = try ModelConversion.writeGGUF(
      from: "\(Fixtures.root)/\(name)", to: path, as: .f32, includesVocabulary: false)
    _ = try ModelConversion.writeFolder(from: path, to: folder("again"), as: .f32)
    try expectAllHolds(folder("again"), name)
    let before = try Checkpoint(path: "\(Fixtures.root)/\(name)")
    let after = try Checkpoint(path: folder("again"))
    // Gemma's norms pass through γ + 1 and carry its rounding.
    let isExact = try !modelType(name).hasPrefix("gemma")
    // Buffers that are no weights stay behind, and names get the family's usual prefix.
    for tensor in before.tensors where !tensor.name.hasSuffix("inv_freq") {
      let other = try #require(
        after.tensor(named: tensor.name) ?? after.tensor(named: "model." + tensor.name),
        "\(tensor.name) is lost")
      #expect(other.shape == tensor.shape, "\(tensor.name)")
      for (left, right) in zip(try tensor.floats(), try other.floats()) where left != right {
        #expect(!isExact && abs(left - right) <= 2e-7, "\(name), \(tensor.name)")
        if isExact { break }
      }
    }
  }

  /// Matrices take the type that is asked for, or f16 where its blocks do not fit; vectors stay f32.
  @Test(arguments: GGUFExport.OutputType.allCases)
  func matricesTakeTheType(type: GGUFExport.OutputType) throws {
    let folder = try TemporaryFolder()
    for name in ["gpt2-plain", "llama-linear"] {
      let name = try #require(Fixtures.names.first { $0.hasPrefix(name) })
      let path = folder("\(name).gguf")
      _ = try ModelConversion.writeGGUF(
        from: "\(Fixtures.root)/\(name)", to: path, as: type, includesVocabulary: false)
      let file = try GGUFFile(path: path)
      let last = try #require((0..<64).last { file.tensor(named: "blk.\($0).ffn_down.weight") != nil })
      let matrix = try #require(file.tensor(named: "blk.\(last).ffn_down.weight"))
      // The last layer's second map has 6 bits where others have 4.
      let wanted = type == .q4_K ? .q6_K : type.weightType
      #expect(
        matrix.type == wanted?.fitting(inputs: matrix.shape[1]).tensorType ?? .f32, "\(matrix.shape)")
      #expect(file.tensor(named: "output_norm.weight")?.type == .f32)
      // It is a model still: its best token is found among finite scores.
      let model = try LanguageModel.load(from: path)
      let session = try InferenceSession(decoder: model.decoder, engine: BLASEngine(threadCount: 1))
      try withExtendedLifetime(session) {
        let logits = try session.append([1, 2, 3])
        #expect(logits.allSatisfy { $0.isFinite })
      }
    }
  }
}
