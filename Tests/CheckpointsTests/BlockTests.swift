import Checkpoints
import Foundation
import Testing
import _TestSupport

/// Blocks against gguf-py (Tests/Reference/GGUF/generate.py).
@Suite struct BlockTests {
  static let reference = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Reference/GGUF/blocks.safetensors").path

  private func tensor(_ name: String) throws -> TensorRecord {
    try #require(try SafetensorsFile(path: Self.reference).tensors.first { $0.name == name })
  }

  private func bytes(_ name: String) throws -> [UInt8] {
    let tensor = try tensor(name)
    return withExtendedLifetime(tensor) { Array(tensor.bytes) }
  }

  /// A GGUF file with one tensor.
  private func record(_ type: TensorType, _ number: UInt32, _ blocks: [UInt8], _ folder: TemporaryFolder)
    throws
    -> TensorRecord
  {
    var builder = GGUFBuilder()
    let elements = UInt64(blocks.count / type.bytesPerBlock * type.elementsPerBlock)
    builder.tensors = [.init("w", [elements], type: number, blocks)]
    return try GGUFFile(path: folder.write(builder.bytes, "w.gguf")).tensors[0]
  }

  private func same(_ left: Float, _ right: Float) -> Bool {
    left.bitPattern == right.bitPattern || left.isNaN && right.isNaN
  }

  static let decoded: [(TensorType, UInt32)] = [
    (.f16, 1), (.q4_0, 2), (.q4_1, 3), (.q5_0, 6), (.q5_1, 7), (.q8_0, 8), (.q2_k, 10), (.q3_k, 11),
    (.q4_k, 12),
    (.q5_k, 13), (.q6_k, 14), (.iq4_nl, 20), (.iq4_xs, 23), (.bf16, 30), (.tq1_0, 34), (.tq2_0, 35),
    (.mxfp4, 39),
    (.nvfp4, 40),
  ]

  @Test(arguments: decoded)
  func blocksDecodeBitForBit(type: TensorType, number: UInt32) throws {
    let folder = try TemporaryFolder()
    let blocks = try bytes(type.rawValue + ".blocks")
    let expected = try tensor(type.rawValue + ".values").floats()
    let record = try record(type, number, blocks, folder)
    #expect(record.type == type)
    let values = try record.floats()
    #expect(values.count == expected.count)
    let wrong = zip(values, expected).enumerated().filter { !same($1.0, $1.1) }.map(\.offset)
    #expect(wrong.isEmpty, "\(type): \(wrong.prefix(10)) of \(values.count)")
    // Part by part, as threads share a tensor.
    var parts = [Float](repeating: 0, count: values.count)
    let step = type.elementsPerBlock * 3
    for start in stride(from: 0, to: values.count, by: step) {
      let range = start..<min(start + step, values.count)
      try parts.withUnsafeMutableBufferPointer { try record.copyFloats(range, into: $0.baseAddress! + start) }
    }
    #expect(zip(parts, values).allSatisfy { same($0, $1) })
    #expect(try record.firstNonFinite() == expected.firstIndex { !$0.isFinite }, "\(type)")
  }

  @Test(arguments: decoded)
  func aBlockThatIsNotFiniteIsNamed(type: TensorType, number: UInt32) throws {
    let folder = try TemporaryFolder()
    let blocks = try bytes(type.rawValue + ".blocks")
    let expected = try tensor(type.rawValue + ".values").floats()
    let (size, length) = (type.bytesPerBlock, type.elementsPerBlock)
    for block in 0..<blocks.count / size {
      let record = try record(type, number, Array(blocks[block * size..<(block + 1) * size]), folder)
      let values = expected[block * length..<(block + 1) * length]
      guard let first = values.firstIndex(where: { !$0.isFinite }) else {
        try record.checkFinite()
        continue
      }
      let error = #expect(throws: CheckpointError.self) { try record.checkFinite() }
      guard case .notFinite(_, "w", let element, let value)? = error else {
        Issue.record("\(String(describing: error))")
        continue
      }
      #expect(element == first - block * length && same(value, expected[first]))
    }
  }

  @Test(arguments: [TensorType.f16, .bf16, .q8_0, .q4_0, .q4_1, .q5_0, .q5_1], [0, 1])
  func numbersEncodeBitForBit(type: TensorType, shift: Int) throws {
    let values = try tensor(type.rawValue + ".input").floats()
    let expected = try bytes(type.rawValue + ".output")
    var encoded = [UInt8](repeating: 0xAA, count: expected.count + shift)
    values.withUnsafeBufferPointer { values in
      encoded.withUnsafeMutableBytes { bytes in
        _ = BlockEncoding.encode(type, values, into: UnsafeMutableRawBufferPointer(rebasing: bytes[shift...]))
      }
    }
    // NaN stays NaN; which one is the converter's affair.
    if type == .f16 {
      for (index, value) in values.enumerated() where value.isNaN {
        let half = UInt16(encoded[shift + 2 * index]) | UInt16(encoded[shift + 2 * index + 1]) << 8
        #expect(Float16(bitPattern: half).isNaN)
      }
    }
    let size = type.bytesPerBlock
    let wrong = (0..<expected.count / size).filter { block in
      if type == .f16, values[block].isNaN { return false }
      let range = block * size..<(block + 1) * size
      return Array(encoded[range.lowerBound + shift..<range.upperBound + shift]) != Array(expected[range])
    }
    #expect(wrong.isEmpty, "\(type): blocks \(wrong.prefix(10))")
  }

  @Test func whatDoesNotFitAHalfIsReported() throws {
    func overflow(_ type: TensorType, _ values: [Float]) -> Int? {
      var bytes = [UInt8](repeating: 0, count: type.byteCount(elements: values.count)!)
      return values.withUnsafeBufferPointer { values in
        bytes.withUnsafeMutableBytes { BlockEncoding.encode(type, values, into: $0) }
      }
    }
    var values = [Float](repeating: 1, count: 256)
    for type in BlockEncoding.types { #expect(overflow(type, values) == nil) }
    values[70] = 1e8
    #expect(overflow(.f16, values) == 70)
    for type in [TensorType.q8_0, .q4_0, .q4_1, .q5_0, .q5_1] { #expect(overflow(type, values) == 64) }
    for type in [TensorType.f32, .f64, .bf16] { #expect(overflow(type, values) == nil) }
    values[70] = 65_520
    #expect(overflow(.f16, values) == 70)
    values[70] = 65_519
    #expect(overflow(.f16, values) == nil)
    #expect(overflow(.f32, []) == nil)
  }

  @Test(arguments: [
    TensorType.q8_1, .q8_k, .iq2_xxs, .iq2_xs, .iq3_xxs, .iq1_s, .iq3_s, .iq2_s, .iq1_m, .q1_0, .i32,
  ])
  func typesWithoutADecoderAreNamed(type: TensorType) throws {
    let folder = try TemporaryFolder()
    let numbers: [TensorType: UInt32] = [
      .q8_1: 9, .q8_k: 15, .iq2_xxs: 16, .iq2_xs: 17, .iq3_xxs: 18, .iq1_s: 19, .iq3_s: 21, .iq2_s: 22,
      .iq1_m: 29,
      .q1_0: 41, .i32: 26,
    ]
    let record = try record(
      type, numbers[type]!, [UInt8](repeating: 0, count: 2 * type.bytesPerBlock), folder)
    #expect(record.type == type)
    #expect(throws: CheckpointError.notFloatingPoint(path: record.path, tensor: "w", type: type)) {
      try record.floats()
    }
  }

  @Test func safetensorsDoesNotHoldBlocks() throws {
    let folder = try TemporaryFolder()
    for type in TensorType.allCases where !type.isSafetensors {
      let header = #"{"a":{"dtype":"\#(type.rawValue)","shape":[256],"data_offsets":[0,4]}}"#
      let path = try folder.write(safetensors(header, [0, 0, 0, 0]), "x.safetensors")
      let error = #expect(throws: SafetensorsError.self) { try SafetensorsFile(path: path) }
      #expect(error?.tensor == "a" && error?.problem == .unknownType(type.rawValue))
      #expect(throws: SafetensorsError.self) {
        try SafetensorsWriter.write(to: path, [TensorDeclaration(name: "a", type: type, shape: [0])]) {
          _, _ in
        }
      }
    }
  }

  /// Blocks of 256 against the steps of their scales, and where numbers end.
  @Test(arguments: [TensorType.q4_k, .q5_k, .q6_k])
  func superblocksRoundToTheirSteps(type: TensorType) throws {
    func round(_ values: [Float]) -> (values: [Float], overflow: Int?) {
      var bytes = [UInt8](repeating: 0xAA, count: type.byteCount(elements: values.count)!)
      let overflow = values.withUnsafeBufferPointer { source in
        bytes.withUnsafeMutableBytes { BlockEncoding.encode(type, source, into: $0) }
      }
      var result = [Float](repeating: 0, count: values.count)
      bytes.withUnsafeBytes {
        BlockEncoding.decode(type, $0.baseAddress!, into: &result, blocks: values.count / 256)
      }
      return (result, overflow)
    }
    let levels: Float = type == .q4_k ? 15 : type == .q5_k ? 31 : 63
    var random = SeededGenerator(seed: 21)
    // A factor of q6_K is a half that is 32 · 127 times smaller than its numbers: of small ones it keeps few bits.
    for scale in [Float(1), type == .q6_k ? 0.05 : 1e-3, 100] {
      let values = (0..<512).map { _ in Float.random(in: -scale...scale, using: &random) }
      let (result, overflow) = round(values)
      #expect(overflow == nil)
      // Half a step of the group, and what its own scale and minimum lose by having 6 bits (8 in q6_K).
      let step = 2 * scale / levels
      for (value, rounded) in zip(values, result) {
        #expect(
          abs(value - rounded) <= step * 0.75 + 2 * scale / 63 / 2 + scale * 1e-3, "\(type) at \(scale)")
      }
      let squares = zip(values, result).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
      #expect(
        (squares / 512).squareRoot() < step * 0.36, "\(type): \((squares / 512).squareRoot() / step) steps")
    }
    #expect(round([Float](repeating: 0, count: 256)).values == [Float](repeating: 0, count: 256))
    for value: Float in [0.5, -0.5] {
      let constant = round([Float](repeating: value, count: 256)).values
      #expect(constant.allSatisfy { abs($0 - value) < 0.02 })
    }
    for tiny: Float in [1e-38, 1e-30, .leastNonzeroMagnitude] {
      #expect(round((0..<256).map { Float($0 - 128) * tiny }).values.allSatisfy { $0.magnitude < 1e-25 })
    }
    for huge: Float in [3e38, 2e9] {
      var values = [Float](repeating: 1, count: 512)
      values[300] = huge
      let (result, overflow) = round(values)
      #expect(overflow == 256)
      #expect(result[..<256].allSatisfy { $0.isFinite })
    }
  }
}
