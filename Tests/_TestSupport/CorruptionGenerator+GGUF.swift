extension CorruptionGenerator {
  /// A number in a GGUF header: where it is and how long.
  private struct Field {
    let name: String
    let position: Int
    let size: Int
  }

  /// What stands in for a number of 64 bits: lengths, counts, extents and offsets that lie or wrap.
  static let nastyWords: [UInt64] = [
    0, 1, 2, 3, 7, 31, 32, 33, 255, 256, 1000, 65_536, 1 << 20, 1_000_000_000, 1 << 31, 1 << 32,
    (1 << 32) + 1,
    (1 << 42) + 1, 1 << 60, 1 << 61, (1 << 61) + 1, 1 << 62, (1 << 62) + 32, UInt64(Int.max), 1 << 63,
    (1 << 63) + 32, .max - 31, .max - 7, .max,
  ]

  /// Damages a GGUF file.
  mutating func gguf(_ bytes: [UInt8]) -> (fault: String, bytes: [UInt8]) {
    let fields = Self.fields(bytes)
    guard !fields.isEmpty else { return raw(bytes) }
    let field = pick(fields)
    switch Int.random(in: 0..<12, using: &random) {
    case 0..<6:
      let word = Bool.random(using: &random) ? pick(Self.nastyWords) : near(Self.number(bytes, field))
      return ("\(field.name) at \(field.position) becomes \(word)", Self.set(bytes, field, word))
    case 6:
      let bit = Int.random(in: 0..<8 * field.size, using: &random)
      let word = Self.number(bytes, field) ^ (1 << UInt64(bit))
      return ("bit \(bit) of \(field.name) at \(field.position) flipped", Self.set(bytes, field, word))
    case 7:
      let other = pick(fields)
      let word = Self.number(bytes, other)
      return ("\(field.name) at \(field.position) repeats \(other.name)", Self.set(bytes, field, word))
    case 8:
      // Around the field, where a reader that checks too late falls over the edge.
      let cut = min(bytes.count, max(0, field.position + Int.random(in: -1...9, using: &random)))
      return ("cut at \(cut) of \(bytes.count)", Array(bytes[..<cut]))
    case 9:
      let extra = Int.random(in: 1...64, using: &random)
      let place = field.position..<field.position
      return (
        "\(extra) bytes put in at \(field.position)",
        Self.replace(
          bytes, place, with: [UInt8](repeating: UInt8.random(in: 0...3, using: &random), count: extra))
      )
    default: return raw(bytes)
    }
  }

  private static func number(_ bytes: [UInt8], _ field: Field) -> UInt64 {
    bytes[field.position..<field.position + field.size].reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  private static func set(_ bytes: [UInt8], _ field: Field, _ word: UInt64) -> [UInt8] {
    var damaged = bytes
    for index in 0..<field.size {
      damaged[field.position + index] = UInt8(truncatingIfNeeded: word >> (8 * UInt64(index)))
    }
    return damaged
  }

  /// The numbers in the header of a valid file.
  private static func fields(_ bytes: [UInt8]) -> [Field] {
    var fields: [Field] = []
    var position = 4
    func read(_ name: String, _ size: Int) -> Int? {
      guard position + size <= bytes.count else { return nil }
      let field = Field(name: name, position: position, size: size)
      fields.append(field)
      position += size
      return Int(exactly: number(bytes, field))
    }
    func skip(_ name: String) -> Bool {
      guard let count = read("the length of \(name)", 8), count <= bytes.count - position else {
        return false
      }
      position += count
      return true
    }
    func value(_ type: Int) -> Bool {
      switch type {
      case 8: return skip("a string")
      case 9:
        guard let element = read("an element type", 4), let count = read("a count", 8), count < 10_000 else {
          return false
        }
        return (0..<count).allSatisfy { _ in value(element) }
      case 0, 1, 7: return read("a value", 1) != nil
      case 2, 3: return read("a value", 2) != nil
      case 10, 11, 12:
        _ = read("a value", 8)
        return true
      default: return read("a value", 4) != nil
      }
    }
    guard read("the version", 4) != nil, let tensors = read("the count of tensors", 8),
      let entries = read("the count of entries", 8)
    else { return [] }
    for _ in 0..<entries {
      guard skip("a key"), let type = read("a value type", 4), value(type) else { return fields }
    }
    for _ in 0..<tensors {
      guard skip("a name"), let dimensions = read("the count of dimensions", 4) else { return fields }
      for _ in 0..<min(dimensions, 4) { _ = read("an extent", 8) }
      _ = read("an element type", 4)
      _ = read("an offset", 8)
    }
    return fields
  }
}
