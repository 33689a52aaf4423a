/// Puts a GGUF file together piece by piece, true or lying.
package struct GGUFBuilder {
  /// One tensor: what the header says, and its bytes.
  package struct Tensor {
    package var name: String
    package var dimensions: [UInt64]
    package var type: UInt32
    package var data: [UInt8]
    /// When not what follows from the tensors before.
    package var offset: UInt64?

    package init(
      _ name: String, _ dimensions: [UInt64], type: UInt32, _ data: [UInt8], offset: UInt64? = nil
    ) {
      (self.name, self.dimensions, self.type, self.data, self.offset) = (
        name, dimensions, type, data, offset
      )
    }
  }

  package var version: UInt32 = 3
  package var alignment = 32
  /// Key, type, and the bytes after the type.
  package var entries: [(key: [UInt8], type: UInt32, payload: [UInt8])] = []
  package var tensors: [Tensor] = []
  /// When not as many as there are.
  package var tensorCount: UInt64?
  package var entryCount: UInt64?

  package init() {}

  /// A number, little-endian.
  package static func number<Number: BitwiseCopyable>(_ value: Number) -> [UInt8] {
    withUnsafeBytes(of: value, Array.init)
  }

  /// A string with its length.
  package static func string(_ text: [UInt8]) -> [UInt8] { number(UInt64(text.count)) + text }
  package static func string(_ text: String) -> [UInt8] { string(Array(text.utf8)) }

  /// An array: type, count, elements.
  package static func array(_ type: UInt32, count: Int, _ elements: [UInt8]) -> [UInt8] {
    number(type) + number(UInt64(count)) + elements
  }

  package mutating func add(_ key: String, type: UInt32, _ payload: [UInt8]) {
    entries.append((Array(key.utf8), type, payload))
  }

  package mutating func add(_ key: String, _ value: String) { add(key, type: 8, Self.string(value)) }
  package mutating func add(_ key: String, _ value: UInt32) { add(key, type: 4, Self.number(value)) }
  package mutating func add(_ key: String, _ value: Float) { add(key, type: 6, Self.number(value)) }
  package mutating func add(_ key: String, _ value: Bool) { add(key, type: 7, [value ? 1 : 0]) }
  package mutating func add(_ key: String, _ values: [String]) {
    add(key, type: 9, Self.array(8, count: values.count, values.flatMap { Self.string($0) }))
  }
  package mutating func add(_ key: String, _ values: [Int32]) {
    add(key, type: 9, Self.array(5, count: values.count, values.flatMap { Self.number($0) }))
  }
  package mutating func add(_ key: String, _ values: [Float]) {
    add(key, type: 9, Self.array(6, count: values.count, values.flatMap { Self.number($0) }))
  }

  /// The file.
  package var bytes: [UInt8] {
    func padded(_ count: Int) -> Int { (count + alignment - 1) / alignment * alignment }
    var out = Array("GGUF".utf8) + Self.number(version)
    out += Self.number(tensorCount ?? UInt64(tensors.count))
    out += Self.number(entryCount ?? UInt64(entries.count))
    for entry in entries { out += Self.string(entry.key) + Self.number(entry.type) + entry.payload }
    var data: [UInt8] = []
    for tensor in tensors {
      out += Self.string(tensor.name) + Self.number(UInt32(tensor.dimensions.count))
      out += tensor.dimensions.flatMap { Self.number($0) } + Self.number(tensor.type)
      out += Self.number(tensor.offset ?? UInt64(data.count))
      data += tensor.data
      data += [UInt8](repeating: 0, count: padded(data.count) - data.count)
    }
    out += [UInt8](repeating: 0, count: padded(out.count) - out.count)
    return out + data
  }
}
