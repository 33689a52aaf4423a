import Checkpoints
import Foundation
import Testing
import _TestSupport

/// Damaged GGUF files are refused in one line or read within bounds; they never crash.
@Suite struct GGUFCorruptionTests {
  /// Written by gguf-py (Tests/Reference/GGUF/small.py).
  static let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Reference/GGUF/small.gguf").path

  @Test func whatPythonWroteIsRead() throws {
    let file = try GGUFFile(path: Self.path)
    let metadata = file.metadata
    #expect(file.version == 3 && file.alignment == 64)
    #expect(try metadata.string("general.architecture") == "llama")
    #expect(try metadata.integer("value.uint8") == 200)
    #expect(try metadata.integer("value.int8") == -100)
    #expect(try metadata.integer("value.uint16") == 60_000)
    #expect(try metadata.integer("value.int16") == -30_000)
    #expect(try metadata.integer("value.uint32") == 4_000_000_000)
    #expect(try metadata.integer("value.int32") == -2_000_000_000)
    #expect(try metadata.integer("value.uint64") == 1 << 40)
    #expect(try metadata.integer("value.int64") == -(1 << 40))
    #expect(try metadata.number("value.float32") == 1.5)
    #expect(try metadata.number("value.float64") == 1e300)
    #expect(try metadata.boolean("value.bool") == true)
    #expect(try metadata.string("value.string") == "人工智能\n")
    let strings = try #require(try metadata.strings("array.strings"))
    #expect(strings.map { String(decoding: $0, as: UTF8.self) } == ["", "a", "人工", "<0x0A>"])
    #expect(try metadata.integers("array.integers") == [1, -2, 3])
    #expect(try metadata.floats("array.floats") == [0.5, -1.25])
    #expect(try metadata.booleans("array.booleans") == [true, false, true])
    #expect(try file.tensor(named: "f32")?.floats() == (0..<12).map { Float($0) })
    #expect(try file.tensor(named: "f16")?.floats() == (0..<5).map { Float($0) })
    #expect(try file.tensor(named: "f64")?.floats() == (0..<3).map { Float($0) })
    #expect(file.tensor(named: "i32")?.type == .i32)
    #expect(file.tensor(named: "three")?.shape == [2, 3, 4])
    #expect(file.tensor(named: "q8_0")?.shape == [2, 64])
    #expect(file.tensors.count == 19)
    #expect(try readEverything(Self.path) > 0)
  }

  @Test(arguments: Array(1...16) as [UInt64])
  func damagedFilesAreRefusedOrReadInBounds(seed: UInt64) throws {
    let folder = try TemporaryFolder()
    let sound = try Array(Data(contentsOf: URL(filePath: Self.path)))
    var generator = CorruptionGenerator(seed: seed)
    var refused = 0
    for round in 0..<150 {
      let (fault, damaged) = generator.corrupt(["model.gguf": .file(sound)])
      let path = folder("model")
      try CorruptionGenerator.write(damaged, to: path)
      do {
        _ = try readEverything(path + "/model.gguf")
      } catch {
        refused += 1
        let line = "\(error)"
        let known = error is GGUFError || error is CheckpointError || error is FileError
        #expect(known, "seed \(seed) round \(round), \(fault): \(type(of: error))")
        #expect(line.contains(path), "seed \(seed) round \(round), \(fault): \(line)")
        #expect(!line.contains { $0.isNewline || $0 == "\u{1B}" }, "seed \(seed) round \(round), \(fault)")
        #expect(line.utf8.count < 1500, "seed \(seed) round \(round), \(fault): \(line.utf8.count) bytes")
      }
    }
    // Most damage is visible; a changed number in the data or in a value is not, but must have been read.
    #expect(refused > 60, "seed \(seed): only \(refused) of 150 refused")
  }

  /// Opens a file, asks for each value in every way, and converts every tensor.
  private func readEverything(_ path: String) throws -> Int {
    let file = try GGUFFile(path: path)
    let metadata = file.metadata
    var touched = 0
    for key in metadata.keys {
      // One of these is right, the others throw.
      touched += (try? metadata.string(key)) == nil ? 0 : 1
      touched += (try? metadata.integer(key)) == nil ? 0 : 1
      touched += (try? metadata.number(key)) == nil ? 0 : 1
      touched += (try? metadata.boolean(key)) == nil ? 0 : 1
      touched += (try? metadata.integers(key))?.count ?? 0
      touched += (try? metadata.floats(key))?.count ?? 0
      touched += (try? metadata.booleans(key))?.count ?? 0
      if let strings = try? metadata.strings(key) {
        var bytes = 0
        for string in strings { bytes += string.reduce(0) { $0 &+ Int($1) } &* 0 &+ string.count }
        #expect(bytes == strings.totalByteCount)
        touched += bytes
      }
    }
    for tensor in file.tensors {
      #expect(tensor.bytes.count == tensor.byteCount)
      touched += tensor.bytes.reduce(0) { $0 &+ Int($1) } &* 0 &+ tensor.byteCount
      guard tensor.type.isConvertibleToFloat else { continue }
      let values = try tensor.floats()
      #expect(values.count == tensor.elementCount)
      #expect(try tensor.firstNonFinite() == values.firstIndex { !$0.isFinite })
    }
    return touched
  }
}
