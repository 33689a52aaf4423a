import Checkpoints
import Foundation
import Testing
import _TestSupport

@Suite struct WritingTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  // MARK: AtomicFile

  @Test func writesAndReplaces() throws {
    let path = folder("a.txt")
    try AtomicFile.write("one", to: path)
    #expect(try readFile(path) == Array("one".utf8))
    #expect(chmod(path, 0o640) == 0)
    try AtomicFile.write(to: path) { file in
      try [1, 2].withUnsafeBytes { try file.append($0) }
      #expect(file.byteCount == 16)
      #expect(try readFile(path) == Array("one".utf8), "the old file stays until the new one is whole")
    }
    #expect(try readFile(path) == bytes([1, 2]))
    let attributes = try FileManager.default.attributesOfItem(atPath: path)
    #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o640)
    #expect(folder.contents == ["a.txt"])
    try AtomicFile.write("", to: path)
    #expect(try readFile(path).isEmpty)
  }

  @Test func anErrorLeavesTheOldFileAndNoOther() throws {
    struct Interrupted: Error {}
    try folder.write("old", "a.txt")
    #expect(throws: Interrupted.self) {
      try AtomicFile.write(to: folder("a.txt")) { file in
        try Array("new".utf8).withUnsafeBytes { try file.append($0) }
        throw Interrupted()
      }
    }
    #expect(try readFile(folder("a.txt")) == Array("old".utf8))
    #expect(folder.contents == ["a.txt"])
  }

  @Test func aFailedRenameLeavesNothingBehind() throws {
    // The target becomes a folder while the file is written: only the rename can notice.
    let error = #expect(throws: FileError.self) {
      try AtomicFile.write(to: folder("a")) { _ in
        try FileManager.default.createDirectory(atPath: folder("a"), withIntermediateDirectories: false)
      }
    }
    #expect(error == .system(path: folder("a"), action: "replace", code: EISDIR))
    #expect(error.map { "\($0)" } == "\(folder("a")): cannot replace: Is a directory")
    #expect(folder.contents == ["a"])
  }

  @Test func targetsThatCannotBeWrittenAreNamed() throws {
    try folder.write("x", "file")
    func refusal(_ path: String) -> FileError? {
      #expect(throws: FileError.self) { try AtomicFile.write("y", to: path) }
    }
    #expect(refusal(folder("file/a")) == .system(path: folder("file/a"), action: "examine", code: ENOTDIR))
    #expect(refusal(folder("none/a")) == .missing(path: folder("none/")))
    #expect(refusal(folder.path) == .isDirectory(path: folder.path))
    #expect(refusal("/dev/null") == .notRegular(path: "/dev/null"))
    #expect(refusal("a\0b") == .invalidPath(path: "a\0b"))
    #if os(Linux)
      let error = refusal("/proc/inkstone")
      #expect(error.map { "\($0)".hasPrefix("/proc/inkstone: ") || "\($0)".hasPrefix("/proc/: ") } == true)
    #endif
    #expect(folder.contents == ["file"])
  }

  @Test func aLinkIsReplacedAndItsTargetIsNot() throws {
    try folder.write("blob", "blob")
    try FileManager.default.createSymbolicLink(atPath: folder("link"), withDestinationPath: folder("blob"))
    try AtomicFile.write("new", to: folder("link"))
    #expect(try readFile(folder("blob")) == Array("blob".utf8))
    #expect(try readFile(folder("link")) == Array("new".utf8))
  }

  // MARK: SafetensorsWriter

  /// Every type, as `safetensors.torch.save` 0.8.0 wrote two zeros of each (four of F4).
  @Test func equalsTheSafetensorsPackageByteForByte() throws {
    let header =
      #"{"__metadata__":{"format":"pt"},"uint64":{"dtype":"U64","shape":[2],"data_offsets":[0,16]},"#
      + #""int64":{"dtype":"I64","shape":[2],"data_offsets":[16,32]},"#
      + #""float64":{"dtype":"F64","shape":[2],"data_offsets":[32,48]},"#
      + #""complex64":{"dtype":"C64","shape":[2],"data_offsets":[48,64]},"#
      + #""float32":{"dtype":"F32","shape":[2],"data_offsets":[64,72]},"#
      + #""uint32":{"dtype":"U32","shape":[2],"data_offsets":[72,80]},"#
      + #""int32":{"dtype":"I32","shape":[2],"data_offsets":[80,88]},"#
      + #""bfloat16":{"dtype":"BF16","shape":[2],"data_offsets":[88,92]},"#
      + #""float16":{"dtype":"F16","shape":[2],"data_offsets":[92,96]},"#
      + #""uint16":{"dtype":"U16","shape":[2],"data_offsets":[96,100]},"#
      + #""int16":{"dtype":"I16","shape":[2],"data_offsets":[100,104]},"#
      + #""float8_e8m0fnu":{"dtype":"F8_E8M0","shape":[2],"data_offsets":[104,106]},"#
      + #""float8_e4m3fn":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[106,108]},"#
      + #""float8_e5m2":{"dtype":"F8_E5M2","shape":[2],"data_offsets":[108,110]},"#
      + #""int8":{"dtype":"I8","shape":[2],"data_offsets":[110,112]},"#
      + #""uint8":{"dtype":"U8","shape":[2],"data_offsets":[112,114]},"#
      + #""float4_e2m1fn_x2":{"dtype":"F4","shape":[4],"data_offsets":[114,116]},"#
      + #""bool":{"dtype":"BOOL","shape":[2],"data_offsets":[116,118]}}       "#
    let expected = safetensors(header, [UInt8](repeating: 0, count: 118))
    #expect(expected[..<8] == [0x98, 4, 0, 0, 0, 0, 0, 0])
    let source = try SafetensorsFile(path: folder.write(expected, "package.safetensors"))
    try SafetensorsWriter.write(
      to: folder("ours.safetensors"),
      source.tensors.reversed().map {
        (TensorDeclaration(name: $0.name, type: $0.type, shape: $0.shape), $0.bytes)
      },
      metadata: source.metadata)
    #expect(try readFile(folder("ours.safetensors")) == expected)
  }

  /// More spaces put the first tensor where a caller wants it; all else stays.
  @Test(arguments: [8, 64, 4096], 1...9) func alignsTheFirstTensor(alignment: Int, nameLength: Int) throws {
    let name = String(repeating: "n", count: nameLength)
    let path = folder("aligned.safetensors")
    try SafetensorsWriter.write(
      to: path, [.init(name: name, type: .f32, shape: [2])], alignment: alignment
    ) { _, append in try bytes([1.5, -2] as [Float]).withUnsafeBytes { try append($0) } }
    let file = try SafetensorsFile(path: path)
    #expect(file.tensors[0].byteRange.lowerBound.isMultiple(of: alignment))
    #expect(try file.tensors[0].floats() == [1.5, -2])
    let text = try readFile(path).dropFirst(8).dropLast(8)
    #expect(
      String(
        decoding: text.drop { $0 != UInt8(ascii: "{") }.prefix { $0 != UInt8(ascii: " ") }, as: UTF8.self)
        == "{\"\(name)\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}")
  }

  /// Scalars, nothing at all, and the escapes of Rust's serde_json; also from the package.
  @Test func escapesNamesAsThePackageDoes() throws {
    let header =
      #"{"a":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]},"b\#u{7F}\u0001\b\f\n\t\"\\/é人\#u{2028}":"#
      + #"{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"s":{"dtype":"F32","shape":[],"data_offsets":[4,8]}}   "#
    let values: [String: [Float]] = ["a": [], "b\u{7F}\u{1}\u{8}\u{C}\n\t\"\\/é人\u{2028}": [0], "s": [1]]
    let path = folder("x.safetensors")
    try SafetensorsWriter.write(
      to: path,
      values.map {
        .init(name: $0.key, type: .f32, shape: $0.key == "a" ? [0, 3] : $0.key == "s" ? [] : [1])
      }
    ) { tensor, append in
      try values[tensor.name]!.withUnsafeBytes { try append($0) }
    }
    #expect(try readFile(path) == safetensors(header, bytes([0, 1] as [Float])))
    try SafetensorsWriter.write(to: path, [])
    #expect(try readFile(path) == safetensors("{}      "))
  }

  @Test(arguments: TensorType.allCases.filter(\.isSafetensors))
  func everyTypeComesBack(_ type: TensorType) throws {
    let data = (0..<type.bytesPerBlock * 6).map { UInt8(truncatingIfNeeded: $0 * 37) }
    let shape = [2, 3 * type.elementsPerBlock]
    let path = folder("x.safetensors")
    try data.withUnsafeBytes {
      try SafetensorsWriter.write(
        to: path, [(TensorDeclaration(name: "w", type: type, shape: shape), $0)], metadata: ["é\n": "\u{0}"])
    }
    let file = try SafetensorsFile(path: path)
    #expect(file.metadata == ["é\n": "\u{0}"])
    #expect(file.tensors.map(\.shape) == [shape])
    #expect(file.tensors.map { Array($0.bytes) } == [data])
    let address = file.tensors[0].bytes.baseAddress.map { Int(bitPattern: $0) }
    #expect(address.map { $0 % 8 } == 0)
  }

  @Test func refusesWhatTheFormatDoesNotAllow() throws {
    let path = folder("x.safetensors")
    func refusal(_ tensors: [TensorDeclaration], bytes: Int = 0) -> SafetensorsError.Problem? {
      let error = #expect(throws: SafetensorsError.self) {
        try SafetensorsWriter.write(to: path, tensors) { _, append in
          try [UInt8](repeating: 0, count: bytes).withUnsafeBytes { try append($0) }
        }
      }
      #expect(error?.path == path)
      #expect(error?.tensor == tensors[0].name)
      return error?.problem
    }
    let empty = TensorDeclaration(name: "a", type: .f32, shape: [0])
    #expect(refusal([empty, empty]) == .duplicate)
    #expect(refusal([.init(name: "__metadata__", type: .u8, shape: [])]) == .reservedName)
    #expect(refusal([.init(name: "a", type: .f4, shape: [3])]) == .partialByte(shape: [3], type: .f4))
    #expect(refusal([.init(name: "a", type: .u8, shape: [-1])]) == .shapeOverflow(shape: [-1]))
    #expect(refusal([.init(name: "a", type: .f32, shape: [Int.max])]) == .shapeOverflow(shape: [.max]))
    let wanted = TensorDeclaration(name: "a", type: .f32, shape: [2])
    for count in [0, 7, 9] {
      #expect(
        refusal([wanted], bytes: count) == .byteCount(expected: 8, actual: count, shape: [2], type: .f32))
    }
    #expect(folder.contents == [])
  }

  @Test func aSecondWriteIsByteEqual() throws {
    let metadata = Dictionary(uniqueKeysWithValues: (0..<20).map { ("k\($0)", "v") })
    let tensors = (0..<20).map {
      TensorDeclaration(name: "t\($0)", type: $0 % 2 == 0 ? .f16 : .f32, shape: [0])
    }
    for (name, tensors) in [("a", tensors), ("b", tensors.reversed())] {
      try SafetensorsWriter.write(to: folder(name), tensors, metadata: metadata) { _, _ in }
    }
    #expect(try readFile(folder("a")) == readFile(folder("b")))
  }
}
