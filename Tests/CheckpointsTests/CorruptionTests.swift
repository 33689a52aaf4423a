import Checkpoints
import Foundation
import Testing
import _TestSupport

/// Damaged checkpoints are refused in one line or read within bounds; they never crash.
@Suite struct CorruptionTests {
  static let single = safetensors(
    #"{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"#
      + #""h.bias":{"dtype":"BF16","shape":[5],"data_offsets":[24,34]},"#
      + #""x":{"dtype":"F16","shape":[],"data_offsets":[34,36]},"#
      + #""none":{"dtype":"F64","shape":[0,4],"data_offsets":[36,36]},"#
      + #""m":{"dtype":"BOOL","shape":[4],"data_offsets":[36,40]}}"#,
    (0..<40).map { UInt8($0) })

  static let sharded: [String: FolderEntry] = [
    "model.safetensors.index.json": .file(
      Array(
        (#"{"metadata":{"total_size":20},"weight_map":{"a":"model-00001-of-00002.safetensors","#
          + #""b":"model-00001-of-00002.safetensors","c":"model-00002-of-00002.safetensors"}}"#).utf8)),
    "model-00001-of-00002.safetensors": .file(
      safetensors(
        #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[2,2],"data_offsets":[8,16]}}"#,
        [UInt8](repeating: 1, count: 16))),
    "model-00002-of-00002.safetensors": .file(
      safetensors(#"{"c":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, [0, 0, 128, 63])),
  ]

  @Test func undamagedFoldersOpen() throws {
    let folder = try TemporaryFolder()
    for files in [["model.safetensors": .file(Self.single)], Self.sharded] {
      try CorruptionGenerator.write(files, to: folder("model"))
      #expect(try readEverything(folder("model")) > 0)
    }
  }

  @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8] as [UInt64])
  func damagedFoldersAreRefusedOrReadInBounds(seed: UInt64) throws {
    let folder = try TemporaryFolder()
    var generator = CorruptionGenerator(seed: seed)
    var refused = 0
    for round in 0..<150 {
      let source = round.isMultiple(of: 2) ? ["model.safetensors": .file(Self.single)] : Self.sharded
      let (fault, damaged) = generator.corrupt(source)
      let path = folder("model")
      try CorruptionGenerator.write(damaged, to: path)
      do {
        _ = try readEverything(path)
      } catch {
        refused += 1
        let line = "\(error)"
        let known =
          error is SafetensorsError || error is CheckpointError || error is FileError
          || error is JSONDocumentError
        #expect(known, "seed \(seed) round \(round), \(fault): \(type(of: error))")
        #expect(line.contains(path), "seed \(seed) round \(round), \(fault): \(line)")
        #expect(!line.contains { $0.isNewline || $0 == "\u{1B}" }, "seed \(seed) round \(round), \(fault)")
        #expect(line.utf8.count < 1500, "seed \(seed) round \(round), \(fault): \(line.utf8.count) bytes")
      }
    }
    // Most damage is visible; what is not (a flipped bit in a name) must at least have been read.
    #expect(refused > 100, "seed \(seed): only \(refused) of 150 refused")
  }

  /// Opens a checkpoint and touches every byte it claims to hold.
  private func readEverything(_ path: String) throws -> Int {
    let checkpoint = try Checkpoint(path: path)
    var touched = 0
    for tensor in checkpoint.tensors {
      #expect(tensor.bytes.count == tensor.byteCount)
      touched += tensor.bytes.reduce(0) { $0 &+ Int($1) } &* 0 &+ tensor.byteCount
      guard tensor.type.isConvertibleToFloat else { continue }
      #expect(try tensor.floats().count == tensor.elementCount)
      _ = try tensor.firstNonFinite()
    }
    return touched
  }
}
