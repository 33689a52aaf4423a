/// The metadata of a GGUF file, read from the map as it is asked for.
///
/// Every accessor gives `nil` for a key that is not there and throws for a value of another kind, with the file and
/// the key in the message. Numbers widen: any integer type is an integer, any number a number.
public struct GGUFMetadata: Sendable {
  /// One key and where its value is; all of it within the file.
  struct Entry: Sendable {
    let key: String
    let type: GGUFValueType
    /// Of an array; else `type`.
    let elementType: GGUFValueType
    /// Of an array; else 1.
    let count: Int
    /// The value, or the elements.
    let range: Range<Int>
  }

  let file: MappedFile
  private let entries: [Entry]
  private let positions: [String: Int]

  init(file: MappedFile, entries: [Entry]) {
    self.file = file
    self.entries = entries
    // Safe: the reader refuses duplicates.
    positions = Dictionary(uniqueKeysWithValues: entries.enumerated().map { ($1.key, $0) })
  }

  /// The file.
  public var path: String { file.path }

  /// The keys in the order of the file.
  public var keys: [String] { entries.map(\.key) }

  /// Whether there is a value of a key.
  public func contains(_ key: String) -> Bool { positions[key] != nil }

  /// What a value is, with what its elements are and how many when it is an array.
  public func type(of key: String) -> (type: GGUFValueType, elementType: GGUFValueType, count: Int)? {
    entry(key).map { ($0.type, $0.elementType, $0.count) }
  }

  /// An error that names this file and a key, for whoever finds a value of the right kind impossible.
  public func error(_ key: String, _ fault: String) -> GGUFError { fail(key, .value(fault)) }

  /// A value as it lies in the file, to be written into another.
  public func raw(_ key: String) -> GGUFValue? {
    guard let entry = entry(key) else { return nil }
    var bytes = withUnsafeBytes(of: entry.type.rawValue.littleEndian, Array.init)
    if entry.type == .array {
      bytes += withUnsafeBytes(of: entry.elementType.rawValue.littleEndian, Array.init)
      bytes += withUnsafeBytes(of: UInt64(entry.count).littleEndian, Array.init)
    }
    return .raw(bytes + file.bytes[entry.range])
  }

  // MARK: Single values

  /// A string.
  ///
  /// - Throws: `GGUFError` when the value is no string or not UTF-8.
  public func string(_ key: String) throws -> String? {
    guard let entry = try entry(key, "a string", { $0 == .string }) else { return nil }
    return try text(GGUFStrings(file: file, range: entry.range, count: 1).first!, key)
  }

  /// A truth value.
  ///
  /// - Throws: `GGUFError` when the value is no boolean, or a byte that is neither 0 nor 1.
  public func boolean(_ key: String) throws -> Bool? {
    guard let entry = try entry(key, "a boolean", { $0 == .bool }) else { return nil }
    return try boolean(at: entry.range.lowerBound, key)
  }

  /// A whole number of any integer type.
  ///
  /// - Throws: `GGUFError` when the value is no integer or does not fit 63 bits.
  public func integer(_ key: String) throws -> Int? {
    guard let entry = try entry(key, "an integer", \.isInteger) else { return nil }
    return try integer(entry.type, at: entry.range.lowerBound, key)
  }

  /// A number of any type.
  ///
  /// - Throws: `GGUFError` when the value is no number. NaN and ∞ are numbers here.
  public func number(_ key: String) throws -> Double? {
    guard let entry = try entry(key, "a number", { $0.isInteger || $0.isFloat }) else { return nil }
    return try number(entry.type, at: entry.range.lowerBound, key)
  }

  // MARK: Arrays

  /// An array of strings, where it lies.
  ///
  /// - Throws: `GGUFError` when the value is no array of strings.
  /// - Complexity: O(1); the strings are found one after the other as they are asked for.
  public func strings(_ key: String) throws -> GGUFStrings? {
    guard let entry = try array(key, "strings", { $0 == .string }) else { return nil }
    return GGUFStrings(file: file, range: entry.range, count: entry.count)
  }

  /// How many elements an array has; `nil` when there is no array of that name.
  public func elementCount(_ key: String) -> Int? {
    entry(key).flatMap { $0.type == .array ? $0.count : nil }
  }

  /// An array of integers of any type.
  ///
  /// - Throws: `GGUFError` when the value is no such array, or an element does not fit 63 bits.
  public func integers(_ key: String) throws -> [Int]? {
    guard let entry = try array(key, "integers", \.isInteger) else { return nil }
    return try elements(of: entry) { try integer(entry.elementType, at: $0, key) }
  }

  /// An array of numbers of any type, rounded to `Float`.
  ///
  /// - Throws: `GGUFError` when the value is no such array.
  public func floats(_ key: String) throws -> [Float]? {
    guard let entry = try array(key, "numbers", { $0.isInteger || $0.isFloat }) else { return nil }
    if entry.elementType == .float32 {
      return [Float](unsafeUninitializedCapacity: entry.count) { buffer, count in
        let source = UnsafeRawBufferPointer(rebasing: file.bytes[entry.range])
        UnsafeMutableRawBufferPointer(buffer).copyMemory(from: source)
        count = entry.count
      }
    }
    return try elements(of: entry) { Float(try number(entry.elementType, at: $0, key)) }
  }

  /// An array of truth values.
  ///
  /// - Throws: `GGUFError` when the value is no such array, or a byte is neither 0 nor 1.
  public func booleans(_ key: String) throws -> [Bool]? {
    guard let entry = try array(key, "booleans", { $0 == .bool }) else { return nil }
    return try elements(of: entry) { try boolean(at: $0, key) }
  }

  // MARK: Pieces

  /// A value that must be of exactly this type.
  func unsigned32(_ key: String) throws -> UInt32? {
    guard let entry = try entry(key, "a 32-bit unsigned integer", { $0 == .uint32 }) else { return nil }
    return load(entry.range.lowerBound)
  }

  private func entry(_ key: String) -> Entry? { positions[key].map { entries[$0] } }

  private func entry(
    _ key: String, _ expected: String, _ isExpected: (GGUFValueType) -> Bool
  ) throws -> Entry? {
    guard let entry = entry(key) else { return nil }
    guard isExpected(entry.type) else { throw fail(key, .wrongKind(expected: expected, found: kind(entry))) }
    return entry
  }

  private func array(
    _ key: String, _ expected: String, _ isExpected: (GGUFValueType) -> Bool
  ) throws -> Entry? {
    guard let entry = entry(key) else { return nil }
    guard entry.type == .array, isExpected(entry.elementType) else {
      throw fail(key, .wrongKind(expected: "an array of \(expected)", found: kind(entry)))
    }
    return entry
  }

  private func kind(_ entry: Entry) -> String {
    entry.type == .array ? "an array of \(entry.elementType)" : "\(entry.type)"
  }

  private func elements<Element>(of entry: Entry, _ element: (Int) throws -> Element) rethrows -> [Element] {
    let size = entry.elementType.minimumByteCount
    return try (0..<entry.count).map { try element(entry.range.lowerBound + $0 * size) }
  }

  /// Safe: positions come from entries, which lie within the file.
  private func load<Number: FixedWidthInteger>(_ position: Int) -> Number {
    Number(littleEndian: file.bytes.loadUnaligned(fromByteOffset: position, as: Number.self))
  }

  private func boolean(at position: Int, _ key: String) throws -> Bool {
    let byte: UInt8 = load(position)
    guard byte <= 1 else { throw fail(key, .value("holds the byte \(byte) where 0 or 1 is wanted")) }
    return byte == 1
  }

  private func integer(_ type: GGUFValueType, at position: Int, _ key: String) throws -> Int {
    switch type {
    case .uint8: return Int(load(position) as UInt8)
    case .int8: return Int(load(position) as Int8)
    case .uint16: return Int(load(position) as UInt16)
    case .int16: return Int(load(position) as Int16)
    case .uint32: return Int(load(position) as UInt32)
    case .int32: return Int(load(position) as Int32)
    case .int64: return Int(load(position) as Int64)
    default:
      let value: UInt64 = load(position)
      guard let number = Int(exactly: value) else {
        throw fail(key, .value("holds \(value), more than 2^63 − 1"))
      }
      return number
    }
  }

  private func number(_ type: GGUFValueType, at position: Int, _ key: String) throws -> Double {
    switch type {
    case .float32: Double(Float(bitPattern: load(position)))
    case .float64: Double(bitPattern: load(position))
    default: Double(try integer(type, at: position, key))
    }
  }

  private func text(_ bytes: UnsafeRawBufferPointer, _ key: String) throws -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw fail(key, .value("is not UTF-8; the file is damaged"))
    }
    return text
  }

  private func fail(_ key: String, _ problem: GGUFError.Problem) -> GGUFError {
    GGUFError(path: path, subject: .key(key), problem: problem)
  }
}
