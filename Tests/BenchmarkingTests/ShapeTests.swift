import JSON
import Kernels
import Testing
import Transformer

@testable import Benchmarking

@Suite struct ShapeTests {
  @Test func everyNamedShapeIsReadByItsFamily() throws {
    #expect(ModelShape.named.contains { $0.name == "gpt2-124m" })
    for shape in ModelShape.named { _ = try shape.description() }
  }

  @Test func gpt2HasItsParameters() throws {
    // transformers: sum(p.numel() for p in GPT2LMHeadModel(GPT2Config()).parameters()).
    #expect(try ModelShape("gpt2-124m").description().parameterCounts.total == 124_439_808)
    #expect(try ModelShape("gpt2-355m").description().parameterCounts.total == 354_823_168)
  }

  @Test func readsSizes() throws {
    let shape = try ModelShape("layers=2, heads=4,channels=64,vocabulary=100,context=32,inner=96")
    let configuration = try shape.description().configuration
    #expect(configuration.layerCount == 2)
    #expect(configuration.attention.queryHeadCount == 4)
    #expect(configuration.hiddenSize == 64)
    #expect(configuration.vocabularySize == 100)
    #expect(configuration.contextLength == 32)
    #expect(configuration.feedForwardSize == 96)
  }

  @Test(arguments: [
    ("gpt3", "unknown; known: gpt2-tiny"),
    ("layers=2,heads=4,channels=64,vocabulary=100", "context missing"),
    ("layers=2,heads=4,channels=64,vocabulary=100,context=32,layers=3", "layers is given twice"),
    ("layers=0,heads=4,channels=64,vocabulary=100,context=32", "layers must be a whole number from 1"),
    ("layers=99999999999999999999,heads=4,channels=64,vocabulary=100,context=32", "layers must be"),
    ("layers=2,heads=5,channels=64,vocabulary=100,context=32", "5 heads do not divide 64 channels"),
    ("layers=2,depth=4", "\"depth=4\" is none of layers=…"),
    ("layers=2,,heads=4", "\"\" is none of"),
    ("=", "\"=\" is none of"),
  ])
  func refusesAnotherText(text: String, message: String) {
    let error = #expect(throws: BenchmarkError.self) { _ = try ModelShape(text) }
    #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
  }

  @Test func refusesMoreMemoryThanThereIs() throws {
    let model = try ModelShape("gpt2-124m").description()
    let requirement = MemoryRequirement(model, positions: 640, chunk: 512, engineCount: 1)
    #expect(requirement.weights == 4 * 124_439_808)
    #expect(requirement.cache == 2 * 4 * 12 * 768 * 640)
    try requirement.check(model: "gpt2-124m", available: requirement.total)
    let error = #expect(throws: BenchmarkError.self) {
      try requirement.check(model: "gpt2-124m", available: requirement.total - 1)
    }
    #expect(error?.description.contains("gpt2-124m needs 8") == true, "\(error?.description ?? "")")
    #expect(error?.description.contains("weights 475 MiB, KV cache 45.0 MiB") == true)
  }

  /// Extents whose products exceed 64 bits count as too much instead of trapping.
  @Test func countsBeyondTheAddressSpace() throws {
    let largest = Int(Int32.max)
    let model = try ModelShape(
      "layers=16384,heads=1,channels=\(largest),vocabulary=\(largest),context=\(largest)"
    ).description()
    let requirement = MemoryRequirement(
      model, positions: largest, chunk: largest, engineCount: 2, operationRows: largest)
    #expect(requirement.total == .max)
    #expect(throws: BenchmarkError.self) { try requirement.check(model: "huge", available: 1 << 50) }
    #expect(throws: DecoderError.self) { _ = try RandomWeights(model) }
  }

  @Test func availableMemoryIsKnown() {
    #expect(availableMemory().map { $0 > 0 } == true)
  }
}

@Suite struct CostTests {
  /// Two layers of 64 channels, counted by hand.
  @Test func countsOperationsAndBytes() throws {
    let model = try ModelShape("layers=2,heads=4,channels=64,vocabulary=100,context=32").description()
    let matrices = 2 * (64 * 192 + 64 * 64 + 2 * 64 * 256)
    let prompt = ModelCost(model, test: ModelTest(.prompt, tokenCount: 9, depth: 3), chunk: 512)
    // On average 3 + 5 positions are visible.
    #expect(prompt.operationsPerToken == Double(2 * matrices + 4 * 2 * 64 * 8) + 2 * 64 * 100 / 9.0)
    let step = ModelCost(model, test: ModelTest(.generation, tokenCount: 9, depth: 3), chunk: 512)
    let vectors = 2 * (192 + 64 + 256 + 64 + 4 * 64) + 2 * 64
    #expect(step.bytesPerToken == Double(4 * (matrices + vectors + 64 * 100) + 8 * 2 * 64 * 8))
  }
}
