import Foundation
import JSON
import Testing

@testable import Tokenizers

/// Where test data is, from the place of this file.
enum Fixtures {
  static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
  /// Small tokenizers and what transformers says of them (Tests/Reference/Tokenizers/generate.py).
  static let reference = root.appending(path: "Tests/Reference/Tokenizers")
  /// Real tokenizers and texts that are not part of the repository.
  static let shared = root.deletingLastPathComponent().appending(path: "shared/data")

  /// Whether the data beside the repository is there; tests that need it are skipped otherwise.
  static let hasShared = FileManager.default.fileExists(atPath: shared.appending(path: "tokenizers").path)
  static let skipped: Comment = "needs ../shared/data beside the repository"

  static let names: [String] = {
    let folders = (try? FileManager.default.contentsOfDirectory(atPath: reference.path)) ?? []
    return folders.filter {
      FileManager.default.fileExists(atPath: reference.appending(path: $0 + "/cases.json").path)
    }.sorted()
  }()

  /// A folder that a sweep of the generators has written.
  static let sweep = ProcessInfo.processInfo.environment["INKSTONE_TOKENIZER_SWEEP"].map { URL(filePath: $0) }
  static let sweepNames =
    sweep.map { (try? FileManager.default.contentsOfDirectory(atPath: $0.path))?.sorted() ?? [] } ?? []

  static func json(_ url: URL) throws -> JSONValue {
    let data = try Data(contentsOf: url)
    return try data.withUnsafeBytes { try JSONValue.parse($0) }
  }

  /// The file or folder of a fixture's tokenizer.
  static func path(_ name: String, in root: URL = reference) -> String {
    let folder = root.appending(path: name)
    let vocabulary = folder.appending(path: "vocab.gguf").path
    return FileManager.default.fileExists(atPath: vocabulary) ? vocabulary : folder.path
  }

  static func tokenizer(_ name: String) throws -> Tokenizer {
    try Tokenizer.load(from: path(name))
  }
}

/// A small generator whose seed a failing test can name (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
    return mixed ^ mixed >> 31
  }

  /// A text of characters from every plane, with white space and apostrophes well represented.
  mutating func text(maximumLength: Int) -> String {
    var scalars = String.UnicodeScalarView()
    for _ in 0..<Int.random(in: 0...maximumLength, using: &self) {
      switch Int.random(in: 0..<8, using: &self) {
      case 0:
        scalars.append(
          contentsOf: " \n\r\t'\u{85}\u{A0}\u{180E}\u{3000}\u{17F}".unicodeScalars.randomElement(using: &self)
            .map { [$0] } ?? [])
      case 1:
        scalars.append(
          contentsOf: "'sStTrReEvVmMlLdD".unicodeScalars.randomElement(using: &self).map { [$0] } ?? [])
      case 2: scalars.append(Unicode.Scalar(UInt8.random(in: 0x20..<0x7F, using: &self)))
      case 3: scalars.append(Unicode.Scalar(UInt32.random(in: 0x4E00..<0xA000, using: &self))!)
      case 4: scalars.append(Unicode.Scalar(UInt32.random(in: 0xA0..<0x3000, using: &self))!)
      case 5: scalars.append(Unicode.Scalar(UInt8.random(in: 0x30...0x39, using: &self)))
      default:
        if let scalar = Unicode.Scalar(UInt32.random(in: 0..<0x11_0000, using: &self)) {
          scalars.append(scalar)
        }
      }
    }
    return String(scalars)
  }
}
