import Checkpoints
import Foundation
import Testing
import _TestSupport

@Suite struct CheckpointTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private static let index = "model.safetensors.index.json"
  private static let first = safetensors(
    #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, [0, 0, 128, 63])
  private static let second = safetensors(#"{"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, [1, 2])

  private func writeShards(_ map: String) throws {
    try folder.write(Self.first, "1.safetensors")
    try folder.write(Self.second, "2.safetensors")
    try folder.write("{\"weight_map\":{\(map)}}", Self.index)
  }

  private func refusal(_ path: String? = nil) -> String {
    do {
      _ = try Checkpoint(path: path ?? folder.path)
      return "opened"
    } catch {
      return "\(error)"
    }
  }

  @Test func opensAFolderAFileAndAnIndex() throws {
    try folder.write(Self.first, "model.safetensors")
    let expected = ["a"]
    #expect(try Checkpoint(path: folder.path).tensorNames == expected)
    #expect(try Checkpoint(path: folder.path + "/").tensorNames == expected)
    #expect(try Checkpoint(path: folder("model.safetensors")).tensorNames == expected)
    try writeShards(#""b":"2.safetensors","a":"1.safetensors""#)
    // As in transformers, the single file goes before the index.
    #expect(try Checkpoint(path: folder.path).tensorNames == expected)
    let sharded = try Checkpoint(path: folder(Self.index))
    #expect(sharded.tensorNames == ["a", "b"])
    #expect(sharded.totalByteCount == 6)
    #expect(sharded.totalElementCount == 3)
    #expect(sharded.tensor(named: "b")?.path == folder("2.safetensors"))
    #expect(sharded.tensor(named: "b").map { Array($0.bytes) } == [1, 2])
    #expect(sharded.tensor(named: "c") == nil)
  }

  @Test func tensorsOutliveTheirCheckpoint() throws {
    try folder.write(Self.first, "model.safetensors")
    let tensor = try #require(try Checkpoint(path: folder.path).tensor(named: "a"))
    #expect(try tensor.floats() == [1])
  }

  @Test(arguments: [
    "../1.safetensors", "/1.safetensors", "x/1.safetensors", "1.safetensors/", "x\\\\1.safetensors", "",
    "..", "1.bin", "1.safetensors\\u0000", "x\\u0000.safetensors",
  ])
  func refusesAShardElsewhere(_ shard: String) throws {
    try writeShards("\"a\":\"\(shard)\",\"b\":\"2.safetensors\"")
    #expect(refusal().hasPrefix(folder(Self.index) + ": tensor 'a' is placed in '"))
    #expect(refusal().contains("not the plain name of a .safetensors file"))
  }

  @Test func refusesWhatIndexAndFilesDisagreeOn() throws {
    try writeShards(#""a":"1.safetensors","b":"3.safetensors""#)
    #expect(refusal().contains("'\(folder("3.safetensors"))', which does not exist"))
    try writeShards(#""a":"1.safetensors","b":"2.safetensors","c":"2.safetensors""#)
    #expect(refusal().contains("places tensor 'c' in '\(folder("2.safetensors"))', which does not hold it"))
    try writeShards(#""a":"2.safetensors","b":"2.safetensors","c":"1.safetensors""#)
    #expect(
      refusal().contains("places tensor 'a' in '2.safetensors', but '\(folder("1.safetensors"))' holds it"))
    try writeShards(#""c":"1.safetensors""#)
    #expect(refusal().contains("does not name tensor 'a', but '\(folder("1.safetensors"))' holds it"))
  }

  @Test(arguments: [
    "[]", "{}", #"{"weight_map":{}}"#, #"{"weight_map":[]}"#, #"{"weight_map":{"a":1}}"#, "", "nonsense",
    #"{"weight_map":{"a":"1.safetensors","a":"1.safetensors"}}"#,
  ])
  func refusesAnIndexThatIsNone(_ text: String) throws {
    try writeShards("")
    try folder.write(text, Self.index)
    #expect(refusal().hasPrefix(folder(Self.index) + ": "), "\(refusal())")
  }

  @Test func refusesAFolderWithoutWeights() throws {
    #expect(refusal().contains("holds no model.safetensors"))
    try folder.write(Self.first, "other.safetensors")
    #expect(refusal().contains(folder("other.safetensors")))
    #expect(refusal(folder("none")) == "\(folder("none")): no such file or folder; check the path")
  }

  @Test func pickledWeightsAreNotReadAndTheWayOutIsNamed() throws {
    try folder.write([0x50, 0x4B, 3, 4], "pytorch_model.bin")
    for path in [folder.path, folder("pytorch_model.bin")] {
      #expect(refusal(path).hasPrefix(folder("pytorch_model.bin") + ": "))
      #expect(refusal(path).contains("save_pretrained(folder)"))
    }
  }

  @Test func jsonErrorsNameTheFile() throws {
    try folder.write("{\"a\": }", "config.json")
    let error = #expect(throws: JSONDocumentError.self) { try JSONDocument.load(folder("config.json")) }
    #expect(error.map { "\($0)".hasPrefix(folder("config.json") + ": not valid JSON: ") } == true)
    try folder.write("", "config.json")
    #expect(throws: FileError.empty(path: folder("config.json"))) {
      try JSONDocument.load(folder("config.json"))
    }
    try folder.write("[1]", "config.json")
    #expect(try JSONDocument.load(folder("config.json")) == [1])
    #expect(throws: FileError.tooLong(path: folder("config.json"), limit: 2)) {
      try JSONDocument.load(folder("config.json"), limit: 2)
    }
  }

  @Test func aPipeInPlaceOfADocumentDoesNotBlock() throws {
    for name in ["config.json", Self.index, "model.safetensors"] {
      #expect(mkfifo(folder(name), 0o600) == 0)
      #expect(throws: FileError.notRegular(path: folder(name))) { try JSONDocument.load(folder(name)) }
      #expect(throws: FileError.notRegular(path: folder(name))) {
        try readFile(folder(name), acceptingPipes: false)
      }
      #expect(throws: FileError.notRegular(path: folder(name))) { try Checkpoint(path: folder(name)) }
    }
  }

  @Test func foldersAreToldFromFiles() throws {
    let file = try folder.write("", "file")
    #expect(folderExists(folder.path) && fileExists(folder.path))
    #expect(!folderExists(file) && fileExists(file))
    #expect(!folderExists(folder("none")) && !fileExists(folder("none")))
    #expect(!folderExists("a\0b"))
  }

  @Test func endlessDevicesAreNotSwallowed() {
    #expect(throws: FileError.tooLong(path: "/dev/zero", limit: 1 << 20)) {
      try readFile("/dev/zero", limit: 1 << 20)
    }
  }
}
