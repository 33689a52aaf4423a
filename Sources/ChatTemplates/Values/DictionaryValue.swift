/// A dictionary in the order of its insertions.
final class DictionaryValue {
  typealias Entry = (key: Value, value: Value)

  private(set) var entries: [Entry] = []
  private(set) var depth = 1
  /// Where each key is; made when there are enough keys to be worth it.
  private var index: [HashKey: Int]?
  /// Keys up to here are compared one by one.
  private static let indexedFrom = 9

  init() {}

  /// A dictionary with the keys of texts, the later of equal keys counting.
  init(_ entries: [(String, Value)]) {
    for (key, value) in entries { set(Text(key), value) }
  }

  var count: Int { entries.count }

  /// The value of a text as key.
  subscript(key: Text) -> Value? { position(of: key).map { entries[$0].value } }

  /// The value of a key.
  ///
  /// - Throws: `TemplateError.type` for a key that cannot be one.
  func value(of key: Value) throws -> Value? {
    if case .text(let text) = key { return self[text] }
    return try position(of: HashKey(key)).map { entries[$0].value }
  }

  /// Sets a key, which keeps its place when it is there.
  func set(_ key: Value, _ value: Value) throws {
    if case .text(let text) = key { return set(text, value) }
    let hash = try HashKey(key)
    put(at: position(of: hash), hash, key, value)
  }

  /// Sets a text as key.
  func set(_ key: Text, _ value: Value) { put(at: position(of: key), .text(key.bytes), .text(key), value) }

  private func put(at position: Int?, _ hash: @autoclosure () -> HashKey, _ key: Value, _ value: Value) {
    depth = max(depth, value.depth + 1, key.depth + 1)
    if let position {
      entries[position].value = value
      return
    }
    entries.append((key, value))
    if index != nil {
      index![hash()] = entries.count - 1
    } else if entries.count == Self.indexedFrom {
      // Keys that are in were hashable when they came.
      var index: [HashKey: Int] = [:]
      for (position, entry) in entries.enumerated() {
        if let hash = try? HashKey(entry.key) { index[hash] = position }
      }
      self.index = index
    }
  }

  private func position(of key: Text) -> Int? {
    if let index { return index[.text(key.bytes)] }
    return entries.firstIndex { if case .text(let text) = $0.key { text == key } else { false } }
  }

  private func position(of hash: HashKey) -> Int? {
    if let index { return index[hash] }
    return entries.firstIndex { (try? HashKey($0.key)) == hash }
  }

  /// Forgets everything, so that what it holds can go.
  func removeAll() {
    entries = []
    index = nil
  }

  /// A dictionary of its own with the same entries.
  func copy() -> DictionaryValue {
    let copy = DictionaryValue()
    (copy.entries, copy.depth, copy.index) = (entries, depth, index)
    return copy
  }
}

/// What a dictionary knows a key by: equal numbers are one key whatever their type, as in Python.
enum HashKey: Hashable {
  case none
  case undefined
  case integer(Int)
  case float(Double)
  case text([UInt8])
  case tuple([HashKey])
  case object(ObjectIdentifier)

  /// - Throws: `TemplateError.type` for a value that cannot be a key.
  init(_ value: Value) throws {
    switch value {
    case .undefined: self = .undefined
    case .none: self = .none
    case .boolean(let value): self = .integer(value ? 1 : 0)
    case .integer(let value): self = .integer(value)
    case .float(let value): self = Int(exactly: value).map(HashKey.integer) ?? .float(value)
    case .text(let text): self = .text(text.bytes)
    case .tuple(let tuple): self = .tuple(try tuple.elements.map(HashKey.init))
    case .range(let range):
      self = .tuple([.integer(range.start), .integer(range.stop), .integer(range.step)])
    case .list, .dictionary: throw TemplateError(.type, "unhashable type: '\(value.typeName)'")
    case .view(let view): throw TemplateError(.type, "unhashable type: '\(view.part.typeName)'")
    case .iterator(let object): self = .object(ObjectIdentifier(object))
    case .function(let object): self = .object(ObjectIdentifier(object))
    case .namespace(let object): self = .object(ObjectIdentifier(object))
    case .loop(let object): self = .object(ObjectIdentifier(object))
    case .cycler(let object): self = .object(ObjectIdentifier(object))
    case .joiner(let object): self = .object(ObjectIdentifier(object))
    }
  }
}

/// A look at a dictionary that can be walked more than once.
struct DictionaryView {
  enum Part: Sendable {
    case keys, values, items

    var typeName: String {
      switch self {
      case .keys: "dict_keys"
      case .values: "dict_values"
      case .items: "dict_items"
      }
    }
  }

  let dictionary: DictionaryValue
  let part: Part

  var count: Int { dictionary.count }

  /// The element at a place.
  func element(_ index: Int) -> Value {
    let entry = dictionary.entries[index]
    switch part {
    case .keys: return entry.key
    case .values: return entry.value
    case .items:
      return .tuple(
        SequenceValue(
          elements: [entry.key, entry.value], depth: max(entry.key.depth, entry.value.depth) + 1))
    }
  }

  /// All of them.
  var elements: [Value] { (0..<count).map(element) }
}
