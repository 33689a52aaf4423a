import Checkpoints
import Foundation
import Testing
import _TestSupport

@Suite struct SafetensorsFileTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  @Test func readsWhatTheFormatAllows() throws {
    let path = try folder.write(
      safetensors(
        // Out of order, a scalar, an empty tensor, an unknown field, an odd header length.
        #" {"b":{"dtype":"U8","shape":[3],"data_offsets":[4,7],"note":[1]},"__metadata__":{"k":"v"},"#
          + #""a":{"shape":[],"data_offsets":[0,4],"dtype":"F32"},"e":{"dtype":"I64","shape":[0,9],"data_offsets":[4,4]}}   "#,
        [0, 0, 0x80, 0x3F, 7, 8, 9]), "x.safetensors")
    let file = try SafetensorsFile(path: path)
    #expect(file.metadata == ["k": "v"])
    #expect(file.tensors.map(\.name) == ["a", "e", "b"])
    #expect(file.tensors.map(\.shape) == [[], [0, 9], [3]])
    #expect(file.tensors.map(\.elementCount) == [1, 0, 3])
    #expect(try file.tensors[0].floats() == [1])
    #expect(Array(file.tensors[2].bytes) == [7, 8, 9])
    #expect(file.tensors[1].bytes.isEmpty)
  }

  @Test func readsAFileWithoutTensors() throws {
    #expect(try SafetensorsFile(path: folder.write(safetensors("{}"), "x")).tensors.isEmpty)
  }

  /// A tensor `w` with these fields, and data.
  private func fault(_ fields: String, data: Int = 8) throws -> SafetensorsError? {
    try headerFault("{\"w\":{\(fields)}}", data: data)
  }

  private func headerFault(_ header: String, data: Int = 8) throws -> SafetensorsError? {
    try fault(of: safetensors(header, [UInt8](repeating: 0, count: data)))
  }

  private func fault(of bytes: [UInt8]) throws -> SafetensorsError? {
    let path = try folder.write(bytes, "lying.safetensors")
    let error = #expect(throws: SafetensorsError.self) { try SafetensorsFile(path: path) }
    #expect(error?.path == path)
    #expect(error.map { "\($0)".hasPrefix(path + ": ") } == true)
    if let tensor = error?.tensor, tensor.count < 100 { #expect("\(error!)".contains("tensor '\(tensor)'")) }
    return error
  }

  @Test(arguments: [
    (#""shape":[2],"data_offsets":[0,8]"#, "field 'dtype' is missing"),
    (#""dtype":"F32","data_offsets":[0,8]"#, "field 'shape' is missing"),
    (#""dtype":"F32","shape":[2]"#, "field 'data_offsets' is missing"),
    (#""dtype":32,"shape":[2],"data_offsets":[0,8]"#, "field 'dtype' is an integer where a string is wanted"),
    (#""dtype":"F33","shape":[2],"data_offsets":[0,8]"#, "unknown type 'F33'"),
    (#""dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]"#, "field 'dtype' occurs twice"),
    (
      #""dtype":"F32","shape":2,"data_offsets":[0,8]"#, "field 'shape' is an integer where an array is wanted"
    ),
    (#""dtype":"F32","shape":["2"],"data_offsets":[0,8]"#, "field 'shape' holds a string"),
    (#""dtype":"F32","shape":[2.0],"data_offsets":[0,8]"#, "field 'shape' holds a number"),
    (#""dtype":"F32","shape":[-2],"data_offsets":[0,8]"#, "holds the negative number -2"),
    (#""dtype":"F32","shape":[2],"data_offsets":[0]"#, "has 1 numbers where two are wanted"),
    (#""dtype":"F32","shape":[2],"data_offsets":[0,8,8]"#, "has 3 numbers where two are wanted"),
    (#""dtype":"F32","shape":[2],"data_offsets":[0,8.0]"#, "field 'data_offsets' holds a number"),
    (#""dtype":"F32","shape":[2],"data_offsets":[-8,0]"#, "holds the negative number -8"),
    (
      #""dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]"#, "where a whole number below 2^63"
    ),
    (#""dtype":"F32","shape":[2],"data_offsets":[8,0]"#, "data_offsets [8, 0] are reversed"),
    (
      #""dtype":"F32","shape":[3],"data_offsets":[0,12]"#, "ends at byte 12 of the data, but the file holds 8"
    ),
    (#""dtype":"F32","shape":[2],"data_offsets":[9223372036854775799,9223372036854775807]"#, "truncated"),
    (
      #""dtype":"F32","shape":[3],"data_offsets":[0,8]"#,
      "span 8 bytes, but the shape [3] of type F32 needs 12"
    ),
    (#""dtype":"F32","shape":[4398046511105,4194304],"data_offsets":[0,8]"#, "more elements than memory"),
    (#""dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]"#, "more elements than memory"),
    (#""dtype":"F32","shape":[4611686018427387904,1],"data_offsets":[0,8]"#, "more elements than memory"),
    (#""dtype":"F32","shape":[4611686018427387904,0,8],"data_offsets":[0,0]"#, "more elements than memory"),
    (#""dtype":"F4","shape":[3],"data_offsets":[0,2]"#, "does not fill whole bytes"),
    (#""dtype":"F32","shape":[1],"data_offsets":[4,8]"#, "bytes 0..<4 of the data belong to no tensor"),
    (#""dtype":"F32","shape":[1],"data_offsets":[0,4]"#, "bytes 4..<8 of the data belong to no tensor"),
  ])
  func refusesATensor(_ fields: String, _ message: String) throws {
    let error = try fault(fields)
    #expect(error.map { "\($0)".contains(message) } == true, "\(error.map { "\($0)" } ?? "opened")")
  }

  @Test(arguments: [
    ("[]", "not a JSON object"), ("", "not valid JSON"), ("{", "not valid JSON"), ("{}{}", "not valid JSON"),
    ("\"a\"", "not a JSON object"), (#"{"w":[]}"#, "tensor 'w': is described by"),
    (#"{"w":null}"#, "tensor 'w': is described by"),
    (#"{"__metadata__":[]}"#, "__metadata__ is not an object"),
    (#"{"__metadata__":{"a":1}}"#, "'a' in __metadata__"),
    (#"{"__metadata__":{"a":"1","a":"2"}}"#, "'a' in __metadata__"),
    (#"{"__metadata__":{},"__metadata__":{}}"#, "declared twice"),
    (
      #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#,
      "tensor 'a': is declared twice"
    ),
    (
      #"{"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#,
      "tensor 'b': shares bytes with tensor 'a'"
    ),
    (
      #"{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}"#,
      "shares bytes"
    ),
    (
      #"{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#,
      "bytes 3..<4 of the data belong to no tensor"
    ),
  ])
  func refusesAHeader(_ header: String, _ message: String) throws {
    let error = try headerFault(header)
    #expect(error.map { "\($0)".contains(message) } == true, "\(error.map { "\($0)" } ?? "opened")")
  }

  @Test(arguments: CorruptionGenerator.lyingLengths)
  func refusesALyingHeaderLength(_ length: UInt64) throws {
    _ = try fault(of: safetensors(headerByteCount: length, Array("{}".utf8), [0, 1, 2]))
  }

  @Test func refusesEveryTruncation() throws {
    let whole = CorruptionTests.single
    for count in 1..<whole.count { _ = try fault(of: Array(whole[..<count])) }
  }

  @Test func namesAreMadeFitForOneLine() throws {
    let error = try headerFault("{\"a\\n\\u001b[31m\\u202e\(String(repeating: "x", count: 10_000))\":{}}")
    let line = "\(try #require(error))"
    #expect(line.contains(#"tensor 'a\u{a}\u{1b}[31m\u{202e}xxx"#))
    #expect(line.utf8.count < 800)
  }

  @Test func aHeaderOfBracketsIsRefusedFast() throws {
    // The format's own limit; depth costs neither stack nor time.
    let brackets = [UInt8](repeating: UInt8(ascii: "["), count: SafetensorsFile.maximumHeaderByteCount)
    let path = try folder.write(
      safetensors(headerByteCount: UInt64(brackets.count), brackets, []), "deep.safetensors")
    let start = ContinuousClock.now
    let error = #expect(throws: SafetensorsError.self) { try SafetensorsFile(path: path) }
    #expect(ContinuousClock.now - start < .seconds(1))
    #expect(error.map { "\($0)".contains("nested more than") } == true)
  }

  @Test(arguments: [
    (Array("GGUF\u{3}\0\0\0\0\0\0\0".utf8), "GGUF"), ([0x50, 0x4B, 3, 4, 0, 0, 8, 8, 0, 0], "PyTorch"),
    ([0x80, 2, 0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46], "save_pretrained"),
    (Array("version https://git-lfs.github.com/spec/v1\noid sha256:0".utf8), "git lfs pull"),
    (Array("<!DOCTYPE html><html>".utf8), "web page"), (Array("hello, world".utf8), "not safetensors"),
  ])
  func foreignFilesAreRecognised(_ bytes: [UInt8], _ message: String) throws {
    let error = try fault(of: bytes)
    #expect(error.map { "\($0)".contains(message) } == true, "\(error.map { "\($0)" } ?? "opened")")
  }

  @Test func whatIsNoFileIsNamed() throws {
    try folder.write([UInt8](), "empty")
    #expect(throws: FileError.empty(path: folder("empty"))) { try SafetensorsFile(path: folder("empty")) }
    #expect(throws: FileError.isDirectory(path: folder.path)) { try SafetensorsFile(path: folder.path) }
    #expect(throws: FileError.missing(path: folder("none"))) { try SafetensorsFile(path: folder("none")) }
    #expect(throws: FileError.notRegular(path: "/dev/null")) { try SafetensorsFile(path: "/dev/null") }
    #expect(throws: FileError.system(path: folder("empty/x"), action: "open", code: ENOTDIR)) {
      try SafetensorsFile(path: folder("empty/x"))
    }
    #expect(throws: FileError.invalidPath(path: "a\0b")) { try SafetensorsFile(path: "a\0b") }
  }
}
