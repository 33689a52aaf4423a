import Foundation
import JSON
import Kernels
import Testing
import Transformer

private let folder = SharedData.path("models/gpt-nano-sort")

/// A real, trained model (three layers that sort letters) with every intermediate tensor of one forward pass.
@Suite(.enabled(if: folder != nil, "skipped: the model gpt-nano-sort is not beside this checkout"))
struct NanoSortTests {
  @Test(arguments: ["blas", "naive"])
  func everyIntermediateTensorAgrees(engineName: String) throws {
    let engine: any ComputeEngine = engineName == "blas" ? BLASEngine(threadCount: 2) : NaiveEngine()
    let decoder = try Decoder.load(from: folder! + "/hf-gpt2")
    let partials = try Partials(folder! + "/gpt-nano-sort-t0-partials.json")
    let (batch, time, channels, heads, dimension) = (3, 11, 48, 3, 16)
    let ids = try partials.tensor("idx", [batch, time])
    let weights = decoder.weights

    for row in 0..<batch {
      func expect(_ name: String, _ shape: [Int], _ values: [Float], _ tolerance: Float = 2e-5) throws {
        let all = try partials.tensor(name, shape)
        let count = all.count / shape[0]
        let start = shape[0] == 1 ? 0 : row * count
        #expect(values.count == count, "\(name)")
        for (index, value) in values.enumerated() {
          let reference = all[start + index]
          guard value != reference else { continue }
          #expect(
            abs(value - reference) <= tolerance * (1 + abs(reference)), "\(name) row \(row) at \(index)")
        }
      }

      let tokens = (0..<time).map { Int(ids[row * time + $0]) }
      let session = try InferenceSession(decoder: decoder, engine: engine)
      var seen: [ActivationPoint: [Float]] = [:]
      var logits = [Float](repeating: 0, count: time * 3)
      try logits.withUnsafeMutableBufferPointer { buffer in
        _ = try session.append(
          tokens, logits: MutableMatrixView(buffer.baseAddress!, rows: time, columns: 3),
          observe: { point, view in
            seen[point] = (0..<view.rows).flatMap {
              Array(UnsafeBufferPointer(start: view.row($0), count: view.columns))
            }
          })
      }

      // Embeddings.
      try expect(
        "tok_emb", [batch, time, channels],
        tokens.flatMap { token in
          Array(UnsafeBufferPointer(start: weights.tokenEmbedding + token * channels, count: channels))
        })
      try expect(
        "pos_emb", [1, time, channels],
        Array(
          UnsafeBufferPointer(start: weights.positionEmbedding!, count: time * channels)))
      let x = try #require(seen[.embedding])
      try expect("x", [batch, time, channels], x)

      // The first block, its fused steps taken apart with the engine's own operations.
      try expect("ln1", [batch, time, channels], try #require(seen[.attentionInput(layer: 0)]))
      let qkv = try #require(seen[.queryKeyValue(layer: 0)])
      try expect("qkv", [batch, time, 3 * channels], qkv)
      func head(_ part: Int, _ head: Int, _ t: Int, _ d: Int) -> Float {
        qkv[t * 3 * channels + part * channels + head * dimension + d]
      }
      for (part, name) in ["q", "k", "v"].enumerated() {
        try expect(
          name, [batch, heads, time, dimension],
          (0..<heads).flatMap { h in
            (0..<time).flatMap { t in (0..<dimension).map { head(part, h, t, $0) } }
          })
      }
      var scores: [Float] = []
      var attention: [Float] = []
      for h in 0..<heads {
        for t in 0..<time {
          let row = (0..<time).map { s -> Float in
            s > t
              ? -.infinity
              : (0..<dimension).reduce(0) { $0 + head(0, h, t, $1) * head(1, h, s, $1) }
                * decoder.configuration.attentionScale
          }
          scores += row
          let total = row.reduce(0) { $0 + exp($1) }
          attention += row.map { exp($0) / total }
        }
      }
      try expect("att", [batch, heads, time, time], scores)
      try expect("attSm", [batch, heads, time, time], attention)
      let y = try #require(seen[.attended(layer: 0)])
      try expect("y", [batch, time, channels], y)
      func map(_ weight: LinearWeight, _ input: [Float]) -> [Float] {
        var output = [Float](repeating: 0, count: time * weight.outputs)
        input.withUnsafeBufferPointer { input in
          output.withUnsafeMutableBufferPointer { output in
            engine.linear(
              MatrixView(input.baseAddress!, rows: time, columns: weight.inputs), weight,
              into: MutableMatrixView(output.baseAddress!, rows: time, columns: weight.outputs),
              epilogue: .store)
          }
        }
        return output
      }
      try expect("yProj", [batch, time, channels], map(weights.blocks[0].attentionOutput, y))
      try expect("attnResid", [batch, time, channels], try #require(seen[.afterAttention(layer: 0)]))
      let ln2 = try #require(seen[.feedForwardInput(layer: 0)])
      try expect("ln2", [batch, time, channels], ln2)
      guard case .dense(let maps) = weights.blocks[0].feedForward else {
        Issue.record("a GPT-2 without feed-forward maps")
        return
      }
      try expect("fc", [batch, time, 4 * channels], map(maps.input, ln2))
      let gelu = try #require(seen[.activated(layer: 0)])
      try expect("gelu", [batch, time, 4 * channels], gelu)
      try expect("mlp", [batch, time, channels], map(maps.output, gelu))
      try expect("mlpResid", [batch, time, channels], try #require(seen[.block(layer: 0)]))

      // The rest of the model.
      for layer in 0..<3 {
        try expect("block\(layer)", [batch, time, channels], try #require(seen[.block(layer: layer)]))
      }
      try expect("ln_f", [batch, time, channels], try #require(seen[.finalNorm]))
      try expect("lm_head", [batch, time, 3], logits)
      let probabilities = (0..<time).flatMap { t -> [Float] in
        let exponentials = (0..<3).map { exp(logits[t * 3 + $0]) }
        return exponentials.map { $0 / exponentials.reduce(0, +) }
      }
      try expect("probs", [batch, time, 3], probabilities)
    }
  }
}

/// The file of intermediate tensors: base64 of little-endian floats.
private struct Partials {
  let document: JSONValue

  init(_ path: String) throws {
    let data = try Data(contentsOf: URL(filePath: path))
    document = try data.withUnsafeBytes { try JSONValue.parse($0) }
  }

  func tensor(_ name: String, _ shape: [Int]) throws -> [Float] {
    #expect(document[name]?["shape"]?.array?.compactMap(\.int) == shape, "\(name)")
    let text = try #require(document[name]?["data"]?.string)
    let data = try #require(Data(base64Encoded: text))
    return data.withUnsafeBytes { bytes in
      (0..<bytes.count / 4).map { bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
    }
  }
}
