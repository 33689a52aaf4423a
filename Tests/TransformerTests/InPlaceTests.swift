import Checkpoints
import Foundation
import JSON
import Kernels
import Testing
import _TestSupport

@testable import Transformer

/// Floats that are used where a file has them, whatever the order of its tensors.
@Suite struct InPlaceTests {
  /// Tensors in a file, one behind the other.
  enum Order: String, CaseIterable {
    /// Gate and up projection are neighbours, as most writers leave them.
    case byName
    /// They are neighbours the wrong way round.
    case reversed
    /// Query, key and value are neighbours too.
    case asComputed
    /// A tensor of another kind parts the two.
    case parted
  }

  /// Matrices of more than 262 144 elements, which several threads look through.
  private static func weights(isHeadTied: Bool = false) throws -> RandomWeights {
    try RandomWeights(
      ModelDescription(
        [
          "model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
          "hidden_size": 192, "intermediate_size": 1501, "vocab_size": 1507, "max_position_embeddings": 96,
          "tie_word_embeddings": .bool(isHeadTied), "bos_token_id": 1, "eos_token_id": 2,
          "rms_norm_eps": 1e-5,
        ], path: "test"), seed: 5)
  }

  private static func sorted(_ names: [String], _ order: Order) -> [String] {
    switch order {
    case .byName: return names.sorted()
    case .reversed: return names.sorted(by: >)
    case .asComputed:
      let parts = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
      return names.sorted { left, right in
        func key(_ name: String) -> (String, Int) {
          let layer = name.split(separator: ".").first { Int($0) != nil }.map(String.init) ?? ""
          return (layer, parts.firstIndex { name.contains($0) } ?? -1)
        }
        return key(left) < key(right)
      }
    case .parted:
      let (ups, others) = (names.filter { $0.contains("up_proj") }, names.filter { !$0.contains("up_proj") })
      return others.sorted() + ups.sorted()
    }
  }

  /// Writes the model with its tensors in some order, and numbers put in their places.
  private static func write(
    _ weights: RandomWeights, _ order: Order, to folder: String, numbers: [(String, Int, Float)] = []
  ) throws {
    try weights.save(to: folder)
    let checkpoint = try Checkpoint(path: folder)
    var members: [JSONObject.Member] = []
    var data: [UInt8] = []
    for name in sorted(weights.tensorNames, order) {
      let tensor = try #require(checkpoint.tensor(named: name))
      let start = data.count
      data += tensor.bytes
      for (place, element, value) in numbers where place == name {
        withUnsafeBytes(of: value) {
          data.replaceSubrange(start + element * 4..<start + element * 4 + 4, with: $0)
        }
      }
      members.append(
        .init(
          key: name,
          value: [
            "dtype": "F32", "shape": .array(tensor.shape.map { .integer($0) }),
            "data_offsets": [.integer(start), .integer(data.count)],
          ]))
    }
    var header = JSONValue.object(JSONObject(members)).text(.compact)
    header += String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
    let length = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) }
    try Data(length + Array(header.utf8) + data).write(to: URL(filePath: "\(folder)/model.safetensors"))
  }

  private static func scores(
    _ decoder: Decoder, _ engine: any ComputeEngine = NaiveEngine(), count: Int = 4
  ) throws -> [Float] {
    let session = try InferenceSession(decoder: decoder, engine: engine)
    let tokens = (0..<count).map { [3, 1500, 7, 12][$0 % 4] }
    return try withExtendedLifetime(session) { try Array(session.append(tokens)) }
  }

  @Test(arguments: Order.allCases, [1, 3])
  func everyOrderIsTheSameModel(order: Order, threadCount: Int) throws {
    let weights = try Self.weights()
    let folder = try TemporaryFolder()
    try Self.write(weights, order, to: folder.path)
    let decoder = try Decoder.load(from: folder.path, threadCount: threadCount)
    #expect(try Self.scores(decoder) == Self.scores(weights.makeDecoder()))
    let later = try Decoder.load(from: folder.path, threadCount: threadCount, check: .whenUsed)
    let engine = BLASEngine(threadCount: threadCount)
    #expect(try Self.scores(later, engine) == Self.scores(decoder, engine))
    // A long prompt puts together what few rows read in parts; nothing changes for those that come after it.
    let long = try Self.scores(later, engine, count: 70)
    let fresh = try Decoder.load(from: folder.path, threadCount: threadCount, check: .whenUsed)
    #expect(try long == Self.scores(fresh, engine, count: 70))
    #expect(try Self.scores(fresh, engine) == Self.scores(decoder, engine))
    let exact = try Self.scores(decoder, count: 70)
    let (difference, largest) = (zip(long, exact).map { abs($0 - $1) }.max()!, exact.map(abs).max()!)
    #expect(difference <= 2e-5 * largest, "\(difference) of \(largest)")

    let checkpoint = try Checkpoint(path: folder.path)
    let loader = WeightLoader(
      family: weights.description.family, configuration: weights.description.configuration, source: checkpoint
    )
    let (layers, gated) = (2, 2 * 192 * 1501)
    let queryKeyValue = 192 * (192 + 96 + 96)
    let vectors = 5 * 192
    let copied =
      switch order {
      case .byName: layers * queryKeyValue + vectors
      case .reversed, .parted: layers * (queryKeyValue + gated) + vectors
      case .asComputed: vectors
      }
    #expect(try loader.byteCount(.float32, countsMapped: false) == 4 * copied)
  }

  /// The first of several is named, by whichever thread it is found.
  @Test(arguments: Order.allCases)
  func theFirstNonFiniteElementIsNamed(order: Order) throws {
    let weights = try Self.weights()
    let folder = try TemporaryFolder()
    for (name, element) in [
      ("model.layers.1.mlp.up_proj.weight", 288_000), ("model.layers.0.mlp.gate_proj.weight", 288_191),
      ("model.layers.1.mlp.down_proj.weight", 5), ("lm_head.weight", 262_145),
      ("model.layers.0.self_attn.k_proj.weight", 192 * 96 - 1),
    ] {
      try Self.write(
        weights, order, to: folder.path,
        numbers: [(name, element, .nan), (name, weights.shape(of: name)!.reduce(1, *) - 1, .infinity)])
      func isNamed(_ error: any Error) -> Bool {
        "\(error)".contains("model.safetensors") && "\(error)".contains(name)
          && "\(error)".contains(" at element \(element);")
      }
      #expect(performing: { try Decoder.load(from: folder.path, threadCount: 3) }, throws: isNamed)
      for engine in [NaiveEngine(), BLASEngine(threadCount: 3)] as [any ComputeEngine] {
        for count in [4, 70] {
          #expect(
            performing: {
              try Self.scores(
                Decoder.load(from: folder.path, threadCount: 3, check: .whenUsed), engine, count: count)
            }, throws: isNamed)
        }
      }
    }
  }

  /// A table that is the head too is looked at row by row until it is multiplied: a pass without scores throws already.
  @Test func aRowThatIsLookedUpIsLookedAt() throws {
    let weights = try Self.weights(isHeadTied: true)
    let folder = try TemporaryFolder()
    let name = "model.embed_tokens.weight"
    try Self.write(weights, .byName, to: folder.path, numbers: [(name, 192 * 12 + 191, .nan)])
    for engine in [NaiveEngine(), BLASEngine(threadCount: 2)] as [any ComputeEngine] {
      let decoder = try Decoder.load(from: folder.path, threadCount: 2, check: .whenUsed)
      let session = try InferenceSession(decoder: decoder, engine: engine, chunkSize: 4)
      var passes = 0
      #expect(
        performing: {
          try session.append([3, 1500, 7, 12, 4, 5, 6, 8]) { role, _ in passes += role == .embedding ? 1 : 0 }
        }, throws: { "\($0)".contains("'\(name)' holds nan at element \(192 * 12 + 191);") })
      #expect(passes == 1, "\(engine.name)")
    }
  }

  /// Vectors and tables, which few of the prompt's tokens use, are looked through before there are scores.
  @Test(
    arguments: [
      ("model.norm.weight", 7), ("model.layers.1.input_layernorm.weight", 191),
      ("model.embed_tokens.weight", 192 * 900),
    ], [nil, WeightType.bf16])
  func noScoresComeOfWhatIsNotFinite(place: (name: String, element: Int), type: WeightType?) throws {
    let weights = try Self.weights()
    let folder = try TemporaryFolder()
    try Self.write(weights, .byName, to: folder.path, numbers: [(place.name, place.element, -.infinity)])
    let format = type.map { WeightFormat.packed($0) } ?? .asStored
    func isNamed(_ error: any Error) -> Bool { "\(error)".contains("\(place.name)' holds -inf") }
    #expect(performing: { try Decoder.load(from: folder.path, format: format) }, throws: isNamed)
    let decoder: Decoder
    do {
      decoder = try Decoder.load(from: folder.path, format: format, check: .whenUsed)
    } catch {
      #expect(
        type != nil && place.name.contains("embed") && isNamed(error),
        "only a table that is rounded is read when the model is loaded: \(error)")
      return
    }
    let session = try InferenceSession(decoder: decoder, engine: BLASEngine(threadCount: 2))
    #expect(performing: { try session.append([3]) }, throws: isNamed)
    let batch = SessionBatch(decoder: decoder, engine: BLASEngine(threadCount: 2))
    let other = try batch.makeSession(capacity: 4, maximumRows: 1)
    #expect(performing: { try batch.prefill([.init(other, [5, 6])]) }, throws: isNamed)
  }
}
