import Foundation

/// What stands at a name in a model's folder.
package enum FolderEntry: Equatable {
  case file([UInt8])
  case folder
  case pipe
}

/// Damages a model's folder in one way at a time, the same way for the same seed.
///
/// The damage is of the kinds that occur (cut downloads, flipped bits, mixed-up files) and of those that are made
/// on purpose (lengths, offsets and extents that lie).
package struct CorruptionGenerator {
  var random: SeededGenerator

  package init(seed: UInt64) { random = SeededGenerator(seed: seed) }

  /// Damages one file of a folder.
  ///
  /// - Parameter folder: a valid model; files are told apart by the ends of their names.
  /// - Returns: the folder with one fault, and the fault in words.
  package mutating func corrupt(_ folder: [String: FolderEntry]) -> (
    fault: String, folder: [String: FolderEntry]
  ) {
    var folder = folder
    let names = folder.keys.sorted()
    let name = pick(names)
    guard case .file(let bytes)? = folder[name] else { return ("\(name) left alone", folder) }
    switch Int.random(in: 0..<40, using: &random) {
    case 0:
      folder[name] = nil
      return ("\(name) removed", folder)
    case 1:
      folder[name] = .folder
      return ("\(name) is a folder", folder)
    case 2:
      folder[name] = .file([])
      return ("\(name) is empty", folder)
    case 3:
      let other = pick(names)
      folder[name] = folder[other]
      return ("\(name) holds \(other)", folder)
    case 4:
      folder[name] = .pipe
      return ("\(name) is a pipe", folder)
    default:
      let (fault, damaged) =
        name.hasSuffix(".safetensors")
        ? safetensors(bytes) : name.hasSuffix(".gguf") ? gguf(bytes) : json(bytes)
      folder[name] = .file(damaged)
      return ("\(name): \(fault)", folder)
    }
  }

  /// Writes a folder to disk, over whatever is there.
  package static func write(_ folder: [String: FolderEntry], to path: String) throws {
    try? FileManager.default.removeItem(atPath: path)
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    for (name, entry) in folder {
      let target = path + "/" + name
      switch entry {
      case .file(let bytes): try Data(bytes).write(to: URL(fileURLWithPath: target))
      case .folder: try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
      case .pipe: if mkfifo(target, 0o600) != 0 { throw CocoaError(.fileWriteUnknown) }
      }
    }
  }

  // MARK: Safetensors

  /// Lengths that a header may claim.
  package static let lyingLengths: [UInt64] = [
    0, 1, 2, 7, 100_000_000, 100_000_001, 1 << 31, 1 << 32, 1 << 62, 1 << 63, .max, .max - 7, .max - 8,
    UInt64(Int.max), UInt64(Int.max) - 7,
  ]

  /// Damages a safetensors file.
  mutating func safetensors(_ bytes: [UInt8]) -> (fault: String, bytes: [UInt8]) {
    guard bytes.count >= 8 else { return raw(bytes) }
    let declared = bytes[..<8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard let length = Int(exactly: declared), length <= bytes.count - 8 else { return raw(bytes) }
    let end = 8 + length
    switch Int.random(in: 0..<8, using: &random) {
    case 0:
      let lie = Bool.random(using: &random) ? pick(Self.lyingLengths) : near(UInt64(length))
      return (
        "header length \(lie) for \(length)", withUnsafeBytes(of: lie.littleEndian, Array.init) + bytes[8...]
      )
    case 1:
      // Around every boundary: the length, the header's end, the data's end, and in between.
      let boundary = pick([0, 1, 7, 8, 9, end - 1, end, end + 1, (end + bytes.count) / 2, bytes.count - 1])
      let cut = min(max(boundary, 0), bytes.count)
      return ("cut at \(cut) of \(bytes.count)", Array(bytes[..<cut]))
    case 2:
      var damaged = bytes
      let position = Int.random(in: 0..<max(end, 1), using: &random)
      let bit = Int.random(in: 0..<8, using: &random)
      damaged[position] ^= 1 << bit
      return ("bit \(bit) of byte \(position) in the header flipped", damaged)
    case 3:
      let extra = Int.random(in: 1...64, using: &random)
      return ("\(extra) bytes appended", bytes + [UInt8](repeating: 0, count: extra))
    default:
      let (fault, text) = json(Array(bytes[8..<end]))
      var header = text
      // Usually aligned again; at times not, so that tensors lie at odd addresses.
      if !Int.random(in: 0..<4, using: &random).isMultiple(of: 4) {
        header += [UInt8](repeating: 0x20, count: (8 - header.count % 8) % 8)
      }
      return (
        fault, withUnsafeBytes(of: UInt64(header.count).littleEndian, Array.init) + header + bytes[end...]
      )
    }
  }

  // MARK: JSON

  /// What stands in for a number.
  static let nastyNumbers = [
    "-1", "0", "1", "3", "-9223372036854775808", "9223372036854775807", "9223372036854775808",
    "18446744073709551615", "18446744073709551616", "4611686018427387905", "4398046511105", "2147483648",
    "1e3",
    "1.5", "2.0", "-0", "1e308", "1e999", "null", "true", "\"4\"", "[]", "[1]", "{}", "00", "0x10", "NaN",
  ]

  /// What stands in for a string.
  static let nastyStrings = [
    "", "..", ".", "/etc/passwd", "../model.safetensors", "a/../../model.safetensors", "a\\\\b.safetensors",
    "model.safetensors\\u0000.safetensors", "/dev/zero", "absent.safetensors", "F32", "F16", "F99", "f32",
    "I64",
    "F4", "C64", "__metadata__", "dtype", "shape", "data_offsets", "\\u001b[31m", "\\n", "\\ud800",
    "人\u{301}",
    String(repeating: "x", count: 70_000),
  ]

  /// Damages a JSON text.
  mutating func json(_ bytes: [UInt8]) -> (fault: String, bytes: [UInt8]) {
    let numbers = Self.tokens(bytes) { (0x30...0x39).contains($0) }
    let strings = Self.strings(bytes)
    switch Int.random(in: 0..<12, using: &random) {
    case 0..<4 where !numbers.isEmpty:
      let nasty = pick(Self.nastyNumbers)
      let place = pick(numbers)
      return (
        "number at \(place.lowerBound) becomes \(nasty)", Self.replace(bytes, place, with: Array(nasty.utf8))
      )
    case 4 where numbers.count > 1:
      let (first, second) = (pick(numbers), pick(numbers))
      guard first.upperBound <= second.lowerBound else { return raw(bytes) }
      let swapped = Self.replace(bytes, second, with: Array(bytes[first]))
      return (
        "numbers at \(first.lowerBound) and \(second.lowerBound) change places",
        Self.replace(swapped, first, with: Array(bytes[second]))
      )
    case 5,
      6 where !strings.isEmpty:
      let nasty = pick(Self.nastyStrings)
      let place = pick(strings)
      return (
        "string at \(place.lowerBound) becomes \(nasty.prefix(40))",
        Self.replace(bytes, place, with: Array(nasty.utf8))
      )
    case 7 where strings.count > 1:
      let (from, to) = (pick(strings), pick(strings))
      return ("string at \(to.lowerBound) repeats another", Self.replace(bytes, to, with: Array(bytes[from])))
    case 8:
      let depth = pick([3, 9, 200, 100_000])
      let bracket = pick(["[", "{\"a\":"])
      return ("\(depth) brackets deep", Array(String(repeating: bracket, count: depth).utf8) + bytes)
    case 9:
      let text = String(decoding: bytes, as: UTF8.self)
      let inner = text.trimmingCharacters(in: .whitespaces).dropFirst().dropLast()
      return ("every member twice", Array("{\(inner),\(inner)}".utf8))
    case 10:
      var damaged = bytes
      damaged.insert(pick([0xFF, 0xC0, 0x00, 0x80]), at: Int.random(in: 0...bytes.count, using: &random))
      return ("a byte that is no UTF-8", damaged)
    default: return raw(bytes)
    }
  }

  /// Damages bytes without looking at them.
  mutating func raw(_ bytes: [UInt8]) -> (fault: String, bytes: [UInt8]) {
    guard !bytes.isEmpty else { return ("left empty", bytes) }
    let position = Int.random(in: 0..<bytes.count, using: &random)
    switch Int.random(in: 0..<4, using: &random) {
    case 0: return ("cut at \(position)", Array(bytes[..<position]))
    case 1:
      let end = min(bytes.count, position + Int.random(in: 1...16, using: &random))
      return ("bytes \(position)..<\(end) lost", Array(bytes[..<position] + bytes[end...]))
    case 2:
      var damaged = bytes
      damaged[position] = UInt8.random(in: .min ... .max, using: &random)
      return ("byte \(position) overwritten", damaged)
    default:
      var damaged = bytes
      damaged[position] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      return ("a bit of byte \(position) flipped", damaged)
    }
  }

  // MARK: Pieces

  mutating func pick<Element>(_ elements: [Element]) -> Element {
    elements[Int.random(in: 0..<elements.count, using: &random)]
  }

  mutating func near(_ length: UInt64) -> UInt64 {
    length &+ UInt64(bitPattern: Int64.random(in: -16...16, using: &random))
  }

  private static func tokens(_ bytes: [UInt8], _ isPart: (UInt8) -> Bool) -> [Range<Int>] {
    var ranges: [Range<Int>] = []
    var position = 0
    while position < bytes.count {
      var end = position
      while end < bytes.count && isPart(bytes[end]) { end += 1 }
      if end > position { ranges.append(position..<end) }
      position = end + 1
    }
    return ranges
  }

  /// The insides of the string literals, escapes disregarded.
  private static func strings(_ bytes: [UInt8]) -> [Range<Int>] {
    let quotes = bytes.indices.filter { bytes[$0] == UInt8(ascii: "\"") }
    return stride(from: 0, to: quotes.count - 1, by: 2).map { quotes[$0] + 1..<quotes[$0 + 1] }
  }

  static func replace(_ bytes: [UInt8], _ range: Range<Int>, with new: [UInt8]) -> [UInt8] {
    Array(bytes[..<range.lowerBound] + new + bytes[range.upperBound...])
  }
}
