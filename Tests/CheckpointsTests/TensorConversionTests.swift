@testable import Checkpoints
import Foundation
import Testing
import _TestSupport

@Suite struct TensorConversionTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  /// A tensor of raw bytes; `shift` extra bytes of header move it off its alignment.
  private func tensor(_ type: TensorType, _ data: [UInt8], shift: Int = 0) throws -> TensorRecord {
    let count = data.count / type.bytesPerBlock * type.elementsPerBlock
    var header =
      "{\"w\":{\"dtype\":\"\(type.rawValue)\",\"shape\":[\(count)],\"data_offsets\":[0,\(data.count)]}}"
    header += String(repeating: " ", count: (8 - header.utf8.count % 8) % 8 + shift)
    return try SafetensorsFile(path: folder.write(safetensors(header, data), "t.safetensors")).tensors[0]
  }

  /// Equal bits, except that every NaN equals every NaN.
  private func same(_ left: Float, _ right: Float) -> Bool {
    left.bitPattern == right.bitPattern || (left.isNaN && right.isNaN)
  }

  /// The value of a binary floating-point pattern, computed from its fields.
  private func decode(_ bits: UInt16, exponentBits: Int) -> Double {
    let fractionBits = 15 - exponentBits
    let fraction = Double(bits & (1 << fractionBits - 1)) / Double(1 << fractionBits)
    let exponent = Int(bits >> fractionBits) & (1 << exponentBits - 1)
    let bias = 1 << (exponentBits - 1) - 1
    let sign: Double = bits & 0x8000 == 0 ? 1 : -1
    if exponent == 1 << exponentBits - 1 { return fraction == 0 ? sign * .infinity : .nan }
    if exponent == 0 { return sign * fraction * pow(2, Double(1 - bias)) }
    return sign * (1 + fraction) * pow(2, Double(exponent - bias))
  }

  @Test(arguments: [0, 1, 3], [(TensorType.f16, 5), (.bf16, 8)])
  func everyPatternOfSixteenBitsIsExact(shift: Int, format: (type: TensorType, exponentBits: Int)) throws {
    let patterns = (0...UInt16.max).map { $0 }
    let floats = try tensor(format.type, bytes(patterns), shift: shift).floats()
    for bits in patterns {
      let expected = Float(decode(bits, exponentBits: format.exponentBits))
      #expect(same(floats[Int(bits)], expected), "\(format.type) \(bits), shift \(shift)")
    }
  }

  @Test(arguments: [0, 1, 2, 3])
  func singlePrecisionIsCopiedBitForBit(shift: Int) throws {
    let values: [Float] = [0, -0, 1, .pi, .leastNonzeroMagnitude, .greatestFiniteMagnitude, .infinity, .nan]
    let tensor = try tensor(.f32, bytes(values), shift: shift)
    #expect(try tensor.floats().map(\.bitPattern) == values.map(\.bitPattern))
    if shift == 0 {
      let inPlace = try #require(tensor.floatsWithoutCopy)
      #expect(inPlace.map(\.bitPattern) == values.map(\.bitPattern))
    } else {
      #expect(tensor.floatsWithoutCopy == nil)
    }
  }

  @Test func doublePrecisionRoundsToNearest() throws {
    let values: [Double] = [0.1, 1 + 0x1p-24, 1 + 0x1.8p-24, -1e300, 0x1p-149, 0x1p-150, .nan]
    let floats = try tensor(.f64, bytes(values), shift: 5).floats()
    #expect(zip(floats, values).allSatisfy { same($0, Float($1)) })
    #expect(floats[1] == 1)
    #expect(floats[3] == -.infinity)
  }

  @Test func aRangeIsAsTheWhole() throws {
    let tensor = try tensor(.bf16, bytes((0..<100).map { UInt16($0 * 600) }))
    let whole = try tensor.floats()
    var part = [Float](repeating: 0, count: 33)
    try tensor.copyFloats(17..<50, into: &part)
    #expect(zip(part, whole[17..<50]).allSatisfy { same($0, $1) })
  }

  @Test(arguments: TensorType.allCases.filter(\.isSafetensors))
  func everyTypeIsReadWhole(_ type: TensorType) throws {
    let data = (0..<type.bytesPerBlock * 3).map { UInt8($0) }
    let tensor = try tensor(type, data)
    #expect(tensor.type == type)
    #expect(Array(tensor.bytes) == data)
    #expect(tensor.elementCount == 3 * type.elementsPerBlock)
    if type.isConvertibleToFloat {
      #expect(try tensor.floats().count == tensor.elementCount)
    } else {
      let expected = CheckpointError.notFloatingPoint(path: tensor.path, tensor: "w", type: type)
      #expect(throws: expected) { try tensor.floats() }
      #expect(throws: expected) { try tensor.firstNonFinite() }
      #expect("\(expected)".contains("tensor 'w' is \(type.rawValue)"))
    }
  }

  @Test func finiteExtremesAreFinite() throws {
    let f32: [Float] = [.greatestFiniteMagnitude, -.greatestFiniteMagnitude, 0, -0, .leastNonzeroMagnitude]
    #expect(try tensor(.f32, bytes(f32)).firstNonFinite() == nil)
    #expect(try tensor(.f16, bytes([0x7BFF, 0xFBFF, 0x0001, 0x8000] as [UInt16])).firstNonFinite() == nil)
    #expect(try tensor(.bf16, bytes([0x7F7F, 0xFF7F, 0x0001, 0x8000] as [UInt16])).firstNonFinite() == nil)
    #expect(try tensor(.f64, bytes([3.4e38, -3.4e38, Double.leastNonzeroMagnitude])).firstNonFinite() == nil)
  }

  @Test(arguments: [1, 7, 8, 9, 63, 64, 65, 4096, 4097, 10_000])
  func theFirstNonFiniteElementIsFound(count: Int) throws {
    let patterns: [(TensorType, [[UInt8]], [UInt8])] = [
      (
        .f32, [.nan, .infinity, -.infinity, -.nan, .signalingNaN].map { bytes([$0 as Float]) },
        bytes([1.5 as Float])
      ),
      (.f16, [0x7C00, 0xFC00, 0x7C01, 0xFE00].map { bytes([$0 as UInt16]) }, bytes([0x3C00 as UInt16])),
      (.bf16, [0x7F80, 0xFF80, 0x7F81, 0xFFC0].map { bytes([$0 as UInt16]) }, bytes([0x3F80 as UInt16])),
      (.f64, [.nan, -.infinity, 1e39].map { bytes([$0 as Double]) }, bytes([1.5 as Double])),
    ]
    for (type, faults, one) in patterns {
      let clean = [UInt8]((0..<count).map { _ in one }.joined())
      for fault in faults {
        for position in Set([0, count / 2, count - 1]) {
          var data = clean
          data.replaceSubrange(position * one.count..<(position + 1) * one.count, with: fault)
          // A second fault behind the first must not hide it.
          data.replaceSubrange((count - 1) * one.count..<count * one.count, with: fault)
          #expect(
            try tensor(type, data, shift: 1).firstNonFinite() == position, "\(type), \(position) of \(count)")
        }
      }
    }
  }

  @Test func aNonFiniteElementIsNamed() throws {
    let tensor = try tensor(.f32, bytes([0, 1, .nan, .infinity] as [Float]))
    let error = #expect(throws: CheckpointError.self) { try tensor.checkFinite() }
    #expect(
      error.map { "\($0)" }
        == "\(tensor.path): tensor 'w' holds nan at element 2; the weights are damaged or training diverged")
  }

  @Test func aFileCutUnderTheMapIsNoticed() throws {
    let tensor = try tensor(.f32, bytes([1, 2, 3] as [Float]))
    let length = tensor.file.bytes.count
    #expect(truncate(tensor.path, off_t(length - 4)) == 0)
    #expect(throws: FileError.resized(path: tensor.path, opened: length, now: length - 4)) {
      try tensor.floats()
    }
  }

  @Test func adviceOnAnyRangeIsHarmless() throws {
    let tensor = try tensor(.f32, bytes([Float](repeating: 1, count: 50_000)))
    for range in [0..<1, 5..<5, 1..<100_000, 8192..<16384, 100_000..<1_000_000, 0..<Int.max] {
      tensor.file.willNeed(range)
      tensor.file.dontNeed(range)
    }
    #expect(try tensor.floats().allSatisfy { $0 == 1 })
    #expect(tensor.file.isProbablyInMemory)
  }

  /// Of a file that nobody has read or written the system has no page.
  @Test func aFileThatIsNotInMemoryIsToldApart() throws {
    let path = folder.path + "/hole"
    #expect(FileManager.default.createFile(atPath: path, contents: nil))
    #expect(truncate(path, 3_000_001) == 0)
    let file = try MappedFile(path: path)
    #expect(!file.isProbablyInMemory)
    #expect(file.bytes.allSatisfy { $0 == 0 })
    #expect(file.isProbablyInMemory)
  }

  /// Not a whole number of megabytes, nor of pages; twice, and while it is read.
  @Test func readingAheadChangesNothing() throws {
    let count = 700_001
    let tensor = try tensor(.f32, bytes((0..<count).map { Float($0) }))
    tensor.file.readAhead()
    tensor.file.dontNeed(0..<tensor.file.bytes.count)
    tensor.file.readAhead()
    #expect(try tensor.floats().enumerated().allSatisfy { $1 == Float($0) })
    #expect(tensor.file.isProbablyInMemory)
  }
}
