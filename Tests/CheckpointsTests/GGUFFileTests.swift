import Checkpoints
import Foundation
import Testing
import _TestSupport

@Suite struct GGUFFileTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func open(_ builder: GGUFBuilder) throws -> GGUFFile {
    try GGUFFile(path: folder.write(builder.bytes, "x.gguf"))
  }

  /// The problem with a file, and that its message is one line naming the file.
  private func refusal(_ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) throws
    -> GGUFError?
  {
    let path = try folder.write(bytes, "x.gguf")
    let error = #expect(throws: GGUFError.self, sourceLocation: sourceLocation) { try GGUFFile(path: path) }
    let line = error.map { "\($0)" } ?? ""
    #expect(line.hasPrefix(path + ": ") && !line.contains { $0.isNewline }, sourceLocation: sourceLocation)
    return error
  }

  private func problem(
    _ builder: GGUFBuilder, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> GGUFError.Problem? {
    try refusal(builder.bytes, sourceLocation: sourceLocation)?.problem
  }

  static var small: GGUFBuilder {
    var builder = GGUFBuilder()
    builder.add("general.architecture", "llama")
    builder.tensors = [
      .init(
        "a", [2, 3], type: 0,
        GGUFBuilder.number((0, 1, 2, 3, 4, 5) as (Float, Float, Float, Float, Float, Float))),
      .init("b.weight", [32, 1], type: 8, [UInt8](repeating: 1, count: 34)),
    ]
    return builder
  }

  // MARK: What is right

  @Test(arguments: [2, 3] as [UInt32], [1, 8, 32, 64, 4096])
  func readsBothVersionsAndEveryAlignment(version: UInt32, alignment: Int) throws {
    var builder = Self.small
    builder.version = version
    builder.alignment = alignment
    builder.add("general.alignment", UInt32(alignment))
    let file = try open(builder)
    #expect(file.version == Int(version))
    #expect(file.alignment == alignment)
    #expect(file.metadata.keys == ["general.architecture", "general.alignment"])
    #expect(file.tensors.map(\.name) == ["a", "b.weight"])
    #expect(file.tensors.map(\.shape) == [[3, 2], [1, 32]])
    #expect(file.tensors.map(\.type) == [.f32, .q8_0])
    #expect(try file.tensor(named: "a")?.floats() == [0, 1, 2, 3, 4, 5])
    #expect(file.tensor(named: "b.weight").map { Array($0.bytes) } == [UInt8](repeating: 1, count: 34))
    #expect(file.tensor(named: "c") == nil)
    #expect(GGUFFile.recognises(file.path))
  }

  @Test func readsAVocabularyWithoutTensorsOrPadding() throws {
    var builder = GGUFBuilder()
    builder.add("tokenizer.ggml.tokens", ["a", "", "人"])
    builder.alignment = 1
    let file = try open(builder)
    #expect(file.tensors.isEmpty)
    #expect(
      try file.metadata.strings("tokenizer.ggml.tokens")?.map { Array($0) } == [[0x61], [], Array("人".utf8)])
  }

  @Test func emptyTensorsAndScalarsAreTensors() throws {
    var builder = GGUFBuilder()
    builder.tensors = [
      .init("scalar", [], type: 0, GGUFBuilder.number(2.5 as Float)), .init("none", [0, 7], type: 0, []),
      .init("none and more", [0, 1 << 62, 1], type: 0, []),
      .init("four", [1, 1, 1, 1], type: 24, [9]),
    ]
    let file = try open(builder)
    #expect(file.tensors.map(\.shape) == [[], [7, 0], [1, 1 << 62, 0], [1, 1, 1, 1]])
    #expect(file.tensors.map(\.elementCount) == [1, 0, 0, 1])
    #expect(try file.tensors[0].floats() == [2.5])
  }

  @Test func everyValueTypeIsRead() throws {
    var builder = GGUFBuilder()
    let integers: [(UInt32, [UInt8], Int)] = [
      (0, [255], 255), (1, [255], -1), (2, [255, 255], 65535), (3, [0, 128], -32768),
      (4, [255, 255, 255, 255], 4_294_967_295), (5, [254, 255, 255, 255], -2),
      (10, GGUFBuilder.number(UInt64(Int.max)), .max), (11, GGUFBuilder.number(Int.min), .min),
    ]
    for (type, payload, _) in integers { builder.add("i\(type)", type: type, payload) }
    for (type, payload, _) in integers {
      builder.add("a\(type)", type: 9, GGUFBuilder.array(type, count: 2, payload + payload))
    }
    builder.add("f32", 1.5 as Float)
    builder.add("f64", type: 12, GGUFBuilder.number(1e300))
    builder.add("yes", true)
    builder.add("text", "人工\n")
    builder.add("flags", type: 9, GGUFBuilder.array(7, count: 3, [1, 0, 1]))
    builder.add("floats", [1, -2, .infinity] as [Float])
    builder.add(
      "doubles", type: 9, GGUFBuilder.array(12, count: 2, GGUFBuilder.number(0.1) + GGUFBuilder.number(-3.0)))
    builder.add("nothing", [] as [String])
    let metadata = try open(builder).metadata
    for (type, _, value) in integers {
      #expect(try metadata.integer("i\(type)") == value)
      #expect(try metadata.number("i\(type)") == Double(value))
      #expect(try metadata.integers("a\(type)") == [value, value])
    }
    #expect(try metadata.number("f32") == 1.5)
    #expect(try metadata.number("f64") == 1e300)
    #expect(try metadata.boolean("yes") == true)
    #expect(try metadata.string("text") == "人工\n")
    #expect(try metadata.booleans("flags") == [true, false, true])
    #expect(try metadata.floats("floats") == [1, -2, .infinity])
    #expect(try metadata.floats("doubles") == [0.1, -3])
    #expect(try metadata.floats("a5") == [-2, -2])
    #expect(try metadata.strings("nothing")?.count == 0)
    #expect(metadata.type(of: "floats")?.elementType == .float32)
    #expect(metadata.type(of: "floats")?.count == 3)
    for absent in ["", "none"] {
      #expect(!metadata.contains(absent))
      #expect(try metadata.integer(absent) == nil)
      #expect(try metadata.string(absent) == nil)
      #expect(try metadata.strings(absent) == nil)
    }
  }

  @Test func nestedArraysArePassedOver() throws {
    var builder = GGUFBuilder()
    let inner = GGUFBuilder.array(8, count: 1, GGUFBuilder.string("x"))
    builder.add(
      "nested", type: 9, GGUFBuilder.array(9, count: 2, inner + GGUFBuilder.array(0, count: 3, [1, 2, 3])))
    builder.add("after", 7 as UInt32)
    let metadata = try open(builder).metadata
    #expect(try metadata.integer("after") == 7)
    #expect(throws: GGUFError.self) { try metadata.integers("nested") }
  }

  @Test func aLargeVocabularyOpensInMilliseconds() throws {
    var builder = GGUFBuilder()
    let tokens = (0..<250_000).map { "token\($0)" }
    builder.add("tokenizer.ggml.tokens", tokens)
    builder.add("tokenizer.ggml.scores", (0..<250_000).map { -Float($0) })
    let path = try folder.write(builder.bytes, "x.gguf")
    let clock = ContinuousClock()
    var bytes = 0
    let elapsed = try clock.measure {
      let metadata = try GGUFFile(path: path).metadata
      for token in try #require(try metadata.strings("tokenizer.ggml.tokens")) { bytes += token.count }
      #expect(try metadata.floats("tokenizer.ggml.scores")?.last == -249_999)
    }
    #expect(bytes == tokens.reduce(0) { $0 + $1.utf8.count })
    // A millisecond or two in release; the bound is for a debug build on a busy machine.
    #expect(elapsed < .seconds(5))
  }

  // MARK: What is wrong with the file

  @Test func otherFormatsAreNamed() throws {
    for (start, word) in [
      ("ggjt", "check the path"), ("tjgg", "before GGUF"), ("PK\u{3}\u{4}", "zip"), ("<!DOCTYPE", "web page"),
      ("version https://git-lfs", "git lfs pull"), ("GGU", "check the path"),
    ] {
      let error = try refusal(Array(start.utf8) + [UInt8](repeating: 0, count: 40))
      #expect(error.map { "\($0)".contains(word) } == true, "\(start)")
    }
    #expect(
      try refusal(Array("GGUF".utf8))?.problem
        == .truncated(what: "the header", position: 4, fileByteCount: 4))
    #expect(throws: FileError.self) { try GGUFFile(path: folder.path) }
    #expect(!GGUFFile.recognises(folder.path) && !GGUFFile.recognises(folder("none")))
  }

  @Test func otherVersionsAndByteOrdersAreRefused() throws {
    var builder = Self.small
    for version in [0, 1, 4, 0xFFFF_FFFF] as [UInt32] {
      builder.version = version
      #expect(try problem(builder) == .version(version))
    }
    for version in [2, 3] as [UInt32] {
      builder.version = version.byteSwapped
      #expect(try problem(builder) == .bigEndian)
    }
  }

  @Test func everyCutIsNoticed() throws {
    var builder = Self.small
    builder.add("list", ["a", "bc"])
    builder.add("n", 3 as UInt32)
    let bytes = builder.bytes
    // The last tensor's padding is not needed.
    for count in 0..<bytes.count - 30 {
      let path = try folder.write(Array(bytes[..<count]), "x.gguf")
      if count == 0 {
        #expect(throws: FileError.empty(path: path)) { try GGUFFile(path: path) }
      } else {
        #expect(throws: GGUFError.self, "cut at \(count)") { try GGUFFile(path: path) }
      }
    }
    #expect(
      try GGUFFile(path: folder.write(Array(bytes[..<(bytes.count - 30)]), "x.gguf")).tensors.count == 2)
  }

  @Test(arguments: [5, 1 << 31, 1 << 32, 1_000_000_000, 1 << 60, 1 << 61, 1 << 63, .max] as [UInt64])
  func lyingCountsAreRefusedBeforeAnythingIsAllocated(count: UInt64) throws {
    var builder = Self.small
    builder.tensorCount = count
    #expect(try problem(builder) != nil)
    builder = Self.small
    builder.entryCount = count
    #expect(try problem(builder) != nil)
    for type in GGUFValueType.allCases {
      builder = GGUFBuilder()
      builder.alignment = 1
      builder.add("x", type: 9, GGUFBuilder.number(type.rawValue) + GGUFBuilder.number(count))
      guard case .count("array elements", count, _)? = try problem(builder) else {
        Issue.record("\(count) of \(type) accepted")
        continue
      }
    }
    builder = GGUFBuilder()
    builder.add("x", type: 8, GGUFBuilder.number(count) + [1, 2, 3])
    builder.alignment = 1
    #expect(try problem(builder) == .stringPastEnd(what: "a string", byteCount: count, remaining: 3))
    builder = GGUFBuilder()
    builder.add("x", type: 9, GGUFBuilder.array(8, count: 1, GGUFBuilder.number(count) + [1, 2, 3]))
    builder.alignment = 1
    #expect(try problem(builder) == .stringPastEnd(what: "a string", byteCount: count, remaining: 3))
  }

  @Test func aKeyOrNameLongerThanTheFileIsRefused() throws {
    let start = Array("GGUF".utf8) + GGUFBuilder.number(3 as UInt32)
    for (tensors, keys) in [(0, 1), (1, 0)] as [(UInt64, UInt64)] {
      for length in [100, 1 << 32, 1 << 63, .max] as [UInt64] {
        let counts = GGUFBuilder.number(tensors) + GGUFBuilder.number(keys)
        let error = try refusal(
          start + counts + GGUFBuilder.number(length) + [UInt8](repeating: 0x61, count: 64))
        guard case .stringPastEnd(_, length, 64)? = error?.problem else {
          Issue.record("a name of \(length) bytes accepted")
          continue
        }
      }
    }
  }

  @Test func aThousandNestedArraysAreRefused() throws {
    for (depth, opens) in [(1, true), (7, true), (9, false), (1000, false), (200_000, false)] {
      var builder = GGUFBuilder()
      let level = GGUFBuilder.number(9 as UInt32) + GGUFBuilder.number(1 as UInt64)
      let payload = [UInt8]((0..<depth).map { _ in level }.joined()) + GGUFBuilder.array(0, count: 1, [7])
      builder.add("deep", type: 9, payload)
      if opens {
        #expect(try open(builder).metadata.contains("deep"))
      } else {
        #expect(try problem(builder) == .arrayTooDeep(limit: 8))
      }
    }
  }

  @Test func typesThatDoNotExistAreRefused() throws {
    var builder = GGUFBuilder()
    for type in [13, 255, 1 << 31, .max] as [UInt32] {
      builder = GGUFBuilder()
      builder.add("x", type: type, [0, 0, 0, 0, 0, 0, 0, 0])
      #expect(try problem(builder) == .unknownValueType(type))
      builder = GGUFBuilder()
      builder.add("x", type: 9, GGUFBuilder.array(type, count: 1, [0, 0, 0, 0, 0, 0, 0, 0]))
      #expect(try problem(builder) == .unknownValueType(type))
    }
    for (type, expected) in [
      (4, .removedTensorType("Q4_2")), (33, .removedTensorType("Q4_0_8_8")), (42, .unknownTensorType(42)),
      (UInt32.max, .unknownTensorType(.max)),
    ] as [(UInt32, GGUFError.Problem)] {
      builder = GGUFBuilder()
      builder.tensors = [.init("x", [32], type: type, [UInt8](repeating: 0, count: 128))]
      #expect(try problem(builder) == expected)
    }
  }

  @Test func repeatedNamesAreRefused() throws {
    var builder = Self.small
    builder.add("general.architecture", 3 as UInt32)
    #expect(try refusal(builder.bytes)?.subject == .key("general.architecture"))
    builder = Self.small
    builder.tensors.append(.init("a", [1], type: 0, [0, 0, 0, 0]))
    let error = try refusal(builder.bytes)
    #expect(error?.subject == .tensor("a") && error?.problem == .duplicate)
  }

  @Test func namesMustBeUTF8() throws {
    var builder = Self.small
    builder.entries.append((key: [0x61, 0xFF], type: 7, payload: [1]))
    guard case .nameNotUTF8? = try problem(builder) else {
      Issue.record("accepted")
      return
    }
  }

  @Test(arguments: [0, 3, 33, 1 << 31, .max] as [UInt32])
  func alignmentsThatAreNoneAreRefused(alignment: UInt32) throws {
    var builder = Self.small
    builder.add("general.alignment", alignment)
    let error = try refusal(builder.bytes)
    #expect(error?.subject == .key("general.alignment") && error?.problem == .alignment(alignment))
  }

  @Test func anAlignmentOfAnotherTypeIsRefused() throws {
    for (type, payload) in [
      (10, GGUFBuilder.number(32 as UInt64)), (8, GGUFBuilder.string("32")), (5, [32, 0, 0, 0]),
    ] as [(UInt32, [UInt8])] {
      var builder = Self.small
      builder.add("general.alignment", type: type, payload)
      guard case .wrongKind? = try problem(builder) else {
        Issue.record("type \(type) accepted")
        continue
      }
    }
  }

  @Test func aLargerAlignmentThanTheFileIsRefused() throws {
    var builder = Self.small
    builder.add("general.alignment", 1 << 20)
    guard case .truncated? = try problem(builder) else {
      Issue.record("accepted")
      return
    }
  }

  // MARK: What is wrong with tensors

  @Test(
    arguments: [
      [(1 << 42) + 1, 1 << 22], [1 << 32, 1 << 32], [1 << 63], [.max], [1 << 62, 2], [3, 1 << 62],
      [(1 << 42) + 1, (1 << 42) + 1, (1 << 42) + 1], [2, 0x5555_5555_5555_5556, 3, 1],
    ] as [[UInt64]])
  func dimensionsThatWrapAreRefused(shape: [UInt64]) throws {
    for type in [0, 1, 24] as [UInt32] {
      var builder = GGUFBuilder()
      builder.tensors = [.init("x", shape, type: type, [UInt8](repeating: 0, count: 64))]
      let problem = try problem(builder)
      switch problem {
      case .shapeOverflow(shape)?: break
      // What does not wrap is far past the end.
      case .pastEnd?: #expect(shape == [1 << 62, 2] || shape == [3, 1 << 62] || shape.count == 2)
      default: Issue.record("\(shape): \(String(describing: problem))")
      }
    }
  }

  @Test func tensorsWithTooManyBlocksOrDimensionsAreRefused() throws {
    var builder = GGUFBuilder()
    builder.tensors = [.init("x", [32_000_000_000], type: 2, [UInt8](repeating: 0, count: 64))]
    #expect(try problem(builder) == .pastEnd(offset: 0, byteCount: 18_000_000_000, available: 64))
    builder.tensors = [.init("x", [1, 1, 1, 1, 1], type: 0, [0, 0, 0, 0])]
    #expect(try problem(builder) == .dimensionCount(5))
    builder.tensors = [.init("x", [33, 32], type: 8, [UInt8](repeating: 0, count: 34 * 33))]
    #expect(try problem(builder) == .partialBlock(rowLength: 33, type: .q8_0))
    builder.tensors = [.init("x", [], type: 8, [UInt8](repeating: 0, count: 34))]
    #expect(try problem(builder) == .partialBlock(rowLength: 1, type: .q8_0))
  }

  @Test func dimensionCountsThatLieAreRefused() throws {
    var bytes = Self.small.bytes
    // After the header, one entry (8 + 20, 4, 8 + 5) and the name "a" (8 + 1).
    let position = 24 + 28 + 4 + 13 + 9
    #expect(bytes[position] == 2)
    bytes.replaceSubrange(position..<position + 4, with: [255, 255, 255, 255])
    #expect(try refusal(bytes)?.problem == .dimensionCount(.max))
  }

  @Test func tensorsOutsideTheFileOrUnalignedAreRefused() throws {
    var builder = Self.small
    for offset in [96, 64 + 32 * 1000, 1 << 40, 1 << 63, UInt64.max - 31] as [UInt64] {
      builder.tensors[1].offset = offset
      #expect(try problem(builder) == .pastEnd(offset: offset, byteCount: 34, available: 96))
    }
    for offset in [1, 31, 33, .max] as [UInt64] {
      builder.tensors[1].offset = offset
      #expect(try problem(builder) == .unaligned(offset: offset, alignment: 32))
    }
  }

  @Test func tensorsThatOverlapAreRefused() throws {
    var builder = Self.small
    builder.tensors[1].offset = 0
    #expect(try problem(builder) == .overlap(other: "a"))
    builder = Self.small
    builder.tensors.append(.init("c", [20], type: 0, [UInt8](repeating: 0, count: 80), offset: 0))
    #expect(try refusal(builder.bytes) != nil)
    // A later tensor may lie before an earlier one, and an empty one anywhere.
    builder = Self.small
    builder.tensors[0].offset = 64
    builder.tensors[1].offset = 0
    builder.tensors.append(.init("e", [0], type: 0, [], offset: 32))
    #expect(try open(builder).tensors.count == 3)
  }

  // MARK: What is wrong with values

  @Test func valuesOfAnotherKindAreNamed() throws {
    var builder = GGUFBuilder()
    builder.add("text", "x")
    builder.add("number", 3 as UInt32)
    builder.add("strings", ["x"])
    builder.add("floats", [1] as [Float])
    builder.add("large", type: 10, GGUFBuilder.number(UInt64.max))
    builder.add("bytes", type: 8, GGUFBuilder.string([0xFF]))
    builder.add("flag", type: 7, [2])
    let metadata = try open(builder).metadata
    func line<Value>(_ body: () throws -> Value) -> String {
      do { return "\(try body())" } catch { return "\(error)" }
    }
    let prefix = metadata.path + ": key "
    #expect(line { try metadata.integer("text") } == prefix + "'text': is string where an integer is wanted")
    #expect(line { try metadata.string("number") } == prefix + "'number': is uint32 where a string is wanted")
    #expect(
      line { try metadata.integer("floats") } == prefix
        + "'floats': is an array of float32 where an integer is wanted")
    #expect(
      line { try metadata.strings("floats") } == prefix
        + "'floats': is an array of float32 where an array of strings is wanted")
    #expect(
      line { try metadata.integers("floats") } == prefix
        + "'floats': is an array of float32 where an array of integers is wanted")
    #expect(line { try metadata.floats("strings") }.hasSuffix("where an array of numbers is wanted"))
    #expect(line { try metadata.strings("text") }.hasSuffix("is string where an array of strings is wanted"))
    #expect(
      line { try metadata.integer("large") }.hasSuffix("holds 18446744073709551615, more than 2^63 − 1"))
    #expect(line { try metadata.string("bytes") }.hasSuffix("is not UTF-8; the file is damaged"))
    #expect(line { try metadata.boolean("flag") }.hasSuffix("holds the byte 2 where 0 or 1 is wanted"))
    #expect(try metadata.strings("strings")?.first.map { Array($0) } == [0x78])
  }
}
