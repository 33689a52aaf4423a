import Foundation

/// A folder that lives as long as one test.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "inkstone-tests-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// The path of a name inside.
  func callAsFunction(_ name: String) -> String { path + "/" + name }

  /// Writes a file and gives its path.
  @discardableResult
  func write(_ bytes: [UInt8], _ name: String) throws -> String {
    try Data(bytes).write(to: URL(fileURLWithPath: self(name)))
    return self(name)
  }

  @discardableResult
  func write(_ text: String, _ name: String) throws -> String { try write(Array(text.utf8), name) }

  var contents: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path).sorted()) ?? [] }
}

/// A safetensors file of a header as given and some data.
func safetensors(_ header: String, _ data: [UInt8] = []) -> [UInt8] {
  safetensors(headerByteCount: UInt64(header.utf8.count), Array(header.utf8), data)
}

/// A safetensors file that claims a header length.
func safetensors(headerByteCount: UInt64, _ header: [UInt8], _ data: [UInt8]) -> [UInt8] {
  withUnsafeBytes(of: headerByteCount.littleEndian, Array.init) + header + data
}

/// The bytes of an array, little-endian as this machine is.
func bytes<Element: BitwiseCopyable>(_ values: [Element]) -> [UInt8] {
  values.withUnsafeBytes { Array($0) }
}

/// SplitMix64: small, seeded and the same everywhere.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
