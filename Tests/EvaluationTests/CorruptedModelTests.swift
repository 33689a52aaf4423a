import Foundation
import Inkstone
import Testing
import _TestSupport

/// A damaged model folder is refused in one line or loads and runs; it never crashes.
@Suite struct CorruptedModelTests {
  private static func folder(_ name: String) throws -> [String: FolderEntry] {
    let path = "\(Fixtures.root)/\(name)"
    var entries: [String: FolderEntry] = [:]
    for file in try FileManager.default.contentsOfDirectory(atPath: path) where file != "reference" {
      entries[file] = .file(Array(try Data(contentsOf: URL(filePath: "\(path)/\(file)"))))
    }
    return entries
  }

  @Test(
    arguments: ["gpt2-plain", "gpt2-sharded", "gpt2-bfloat16", "gpt2-original-names"], [1, 2] as [UInt64])
  func isRefusedOrRuns(name: String, seed: UInt64) throws {
    let source = try Self.folder(name)
    let temporary = try TemporaryFolder()
    let path = temporary("model")
    var generator = CorruptionGenerator(seed: seed)
    var refused = 0
    for round in 0..<60 {
      let (fault, damaged) = generator.corrupt(source)
      try CorruptionGenerator.write(damaged, to: path)
      let label: Comment = "\(name), seed \(seed), round \(round): \(fault)"
      do {
        let model = try LanguageModel.load(from: path, engine: NaiveEngine())
        var settings = GenerationConfiguration()
        settings.maximumNewTokens = 3
        settings.beamCount = 2
        let plan = try settings.merged(over: model.generationConfiguration).plan(
          promptLength: 2, contextLength: model.decoder.configuration.contextLength,
          vocabularySize: model.decoder.configuration.vocabularySize)
        let result = try generate(prompt: [0, 1], plan: plan, session: try model.makeSession(for: plan))
        #expect(result.sequences.allSatisfy { !$0.tokens.isEmpty }, label)
      } catch {
        refused += 1
        let line = "\(error)"
        #expect(!line.contains(where: \.isNewline) && line.utf8.count < 2000, label)
        #expect(error is GenerationError || line.contains(path), "\(label): \(line)")
      }
    }
    #expect(refused > 20, "\(name), seed \(seed): only \(refused) of 60 refused")
  }
}
