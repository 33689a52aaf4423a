import Kernels
import Testing

@testable import Transformer

/// Blocks that are run by themselves, from a residual stream that was kept.
@Suite struct BlockRangeTests {
  /// Every family's blocks one by one, and then in twos, see what they see in the whole model.
  @Test(arguments: Fixtures.names)
  func blocksByThemselvesAreTheWholeModels(name: String) throws {
    let decoder = try Decoder.load(from: "\(Fixtures.root)/\(name)")
    let configuration = decoder.configuration
    let tokens = (0..<11).map { ($0 * 31 + $0 * $0 * 7 + 5) % configuration.vocabularySize }
    let session = try InferenceSession(decoder: decoder, engine: BLASEngine(threadCount: 2), capacity: 11)
    var whole: [ActivationPoint: [Float]] = [:]
    try session.append(tokens, observe: { whole[$0] = elements($1) })
    let blocks = 0..<configuration.layerCount
    for size in [1, 2] {
      var residual: [Float] = []
      for first in stride(from: 0, to: blocks.count, by: size) {
        let part = first..<min(first + size, blocks.count)
        var seen: [ActivationPoint: [Float]] = [:]
        try residual.withUnsafeBufferPointer { memory in
          let view = memory.baseAddress.map {
            MatrixView($0, rows: tokens.count, columns: configuration.hiddenSize)
          }
          try session.run(part, over: tokens, from: first > 0 ? view : nil) { seen[$0] = elements($1) }
        }
        let expected = whole.filter { point, _ in
          point == .embedding ? first == 0 : part.contains { isPoint(point, of: $0) }
        }
        #expect(!expected.isEmpty && seen.keys.sorted(by: describes) == expected.keys.sorted(by: describes))
        for (point, values) in expected {
          #expect(seen[point] == values, "\(name), \(point), blocks \(part)")
        }
        residual = try #require(seen[.block(layer: part.upperBound - 1)])
      }
    }
  }

  private func elements(_ x: MatrixView) -> [Float] {
    (0..<x.rows).flatMap { Array(UnsafeBufferPointer(start: x.row($0), count: x.columns)) }
  }

  private func describes(_ left: ActivationPoint, _ right: ActivationPoint) -> Bool {
    "\(left)" < "\(right)"
  }

  private func isPoint(_ point: ActivationPoint, of layer: Int) -> Bool {
    switch point {
    case .embedding, .finalNorm: false
    case .attentionInput(let block), .queryKeyValue(let block), .attended(let block),
      .afterAttention(let block),
      .feedForwardInput(let block), .activated(let block), .block(let block):
      block == layer
    }
  }
}
