import Foundation
import Inkstone
import Testing

/// The committed models, each with what transformers computed for it.
enum Fixtures {
  static let root = URL(filePath: #filePath).deletingLastPathComponent().appending(
    path: "../Reference/Fixtures"
  )
  .standardizedFileURL.path

  static let names: [String] = {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
    return entries.filter { FileManager.default.fileExists(atPath: "\(root)/\($0)/config.json") }.sorted()
  }()

  /// Models whose angles depend on the length of the whole sequence.
  static let changesWithLength: Set<String> = ["llama-dynamic", "phi3-longrope"]

  static func verify(
    _ folder: String, engine: any ComputeEngine, reference: String? = nil
  ) throws -> VerificationReport {
    let model = try LanguageModel.load(from: folder)
    return try Verifier(
      reference: try Reference.load(from: reference ?? folder + "/reference"), decoder: model.decoder,
      tokenizer: model.tokenizer, generationConfiguration: model.generationConfiguration, engine: engine,
      folder: folder
    ).run()
  }
}

@Suite struct FixtureTests {
  @Test func fixturesAreThere() {
    #expect(Fixtures.names.count >= 20)
  }

  @Test(arguments: Fixtures.names, ["blas", "naive"])
  func equalsTransformers(name: String, engineName: String) throws {
    let engine: any ComputeEngine = engineName == "blas" ? BLASEngine(threadCount: 2) : NaiveEngine()
    let report = try Fixtures.verify("\(Fixtures.root)/\(name)", engine: engine)
    #expect(report.passedCount > 0)
    for check in report.checks {
      switch check.verdict {
      case .passed: break
      case .failed(let place): Issue.record("\(name), \(check.caseName), \(check.subject): \(place)")
      case .skipped(let reason):
        // Nothing may be passed over in silence; this is all that may be passed over at all.
        let isInPieces = check.subject.hasPrefix("logits, ") && Fixtures.changesWithLength.contains(name)
        #expect(
          isInPieces || reason == "gradients of mixtures of experts are not computed",
          "\(name), \(check.caseName), \(check.subject): \(reason)")
      }
    }
  }

  /// A check that cannot fail checks nothing: every kind of case must notice a model that is slightly wrong.
  @Test func noticesAnotherModel() throws {
    let report = try Fixtures.verify(
      "\(Fixtures.root)/gpt2-plain", engine: BLASEngine(threadCount: 1),
      reference: "\(Fixtures.root)/gpt2-plain/reference")
    #expect(report.holds)
    #expect(throws: ReferenceError.self) {
      _ = try Fixtures.verify(
        "\(Fixtures.root)/gpt2-odd-sizes", engine: BLASEngine(threadCount: 1),
        reference: "\(Fixtures.root)/gpt2-plain/reference")
    }
  }

  @Test func threadsChangeNoBit() throws {
    let model = try LanguageModel.load(from: "\(Fixtures.root)/gpt2-larger-vocabulary")
    let tokens = (0..<12).map { $0 * 37 % model.decoder.configuration.vocabularySize }
    let results = try [1, 2, 3].map { threads in
      let session = try InferenceSession(decoder: model.decoder, engine: BLASEngine(threadCount: threads))
      return try withExtendedLifetime(session) {
        Array(try session.append(tokens)) + Array(try session.step([5]))
      }
    }
    #expect(results[0] == results[1])
    #expect(results[0] == results[2])
  }
}
