import CYAJL

/// Why a text is not a JSON document.
public struct JSONError: Error, Equatable, CustomStringConvertible {
  /// What is wrong, in words.
  public let reason: String
  /// Bytes from the start of the text.
  public let offset: Int

  /// The reason and where it was found.
  public var description: String { "not valid JSON: \(reason) at byte \(offset)" }
}

extension JSONValue {
  /// Parses a whole document.
  ///
  /// - Parameters:
  ///   - bytes: UTF-8 text; checked.
  ///   - maximumDepth: containers within containers that are accepted.
  /// - Throws: `JSONError` with the place of the first fault.
  /// - Complexity: O(bytes).
  public static func parse(_ bytes: UnsafeRawBufferPointer, maximumDepth: Int = 128) throws -> JSONValue {
    // In memory of its own: events reach it through a pointer, without reference counts or exclusivity checks,
    // of which a vocabulary would cost half a million.
    let builder = UnsafeMutablePointer<JSONTreeBuilder>.allocate(capacity: 1)
    builder.initialize(to: JSONTreeBuilder(maximumDepth: maximumDepth))
    defer {
      builder.deinitialize(count: 1)
      builder.deallocate()
    }
    // The parser keeps the pointer to its callbacks as long as it lives.
    return try withUnsafePointer(to: JSONTreeBuilder.callbacks) { callbacks in
      // Windows tools begin UTF-8 files with a byte-order mark.
      let hasMark = bytes.count >= 3 && bytes[0] == 0xEF && bytes[1] == 0xBB && bytes[2] == 0xBF
      let text = UnsafeRawBufferPointer(rebasing: bytes[(hasMark ? 3 : 0)...])
      guard let handle = yajl_alloc(callbacks, nil, builder) else {
        throw JSONError(reason: "no memory for a parser", offset: 0)
      }
      defer { yajl_free(handle) }

      // An empty buffer may have no base address; the parser wants one.
      var status = yajl_status_ok
      if let base = text.bindMemory(to: UInt8.self).baseAddress {
        status = yajl_parse(handle, base, text.count)
      }
      var offset = Int(yajl_get_bytes_consumed(handle)) + (hasMark ? 3 : 0)
      if status == yajl_status_ok {
        // Counts bytes from 0 again: what is missing is missing at the end.
        status = yajl_complete_parse(handle)
        offset = bytes.count
      }
      if let reason = builder.pointee.fault { throw JSONError(reason: reason, offset: offset) }
      guard status == yajl_status_ok, let root = builder.pointee.root else {
        throw JSONError(reason: JSONValue.reason(handle), offset: offset)
      }
      return root
    }
  }

  /// Parses a whole document held in a string.
  public static func parse(_ text: String, maximumDepth: Int = 128) throws -> JSONValue {
    var text = text
    return try text.withUTF8 { try parse(UnsafeRawBufferPointer($0), maximumDepth: maximumDepth) }
  }

  private static func reason(_ handle: yajl_handle) -> String {
    guard let message = yajl_get_error(handle, 0, nil, 0) else { return "unreadable" }
    defer { yajl_free_error(handle, message) }
    var text = String(cString: message)
    for prefix in ["parse error: ", "lexical error: "] where text.hasPrefix(prefix) {
      text.removeFirst(prefix.count)
    }
    while text.last == "\n" { text.removeLast() }
    return text.isEmpty ? "the text ends before the value does" : text
  }
}

/// Collects the parser's events into a tree.
private struct JSONTreeBuilder {
  private enum Container {
    case array([JSONValue])
    case object([JSONObject.Member], key: String)
  }

  let maximumDepth: Int
  var root: JSONValue?
  var fault: String?
  private var stack: [Container] = []

  init(maximumDepth: Int) {
    self.maximumDepth = maximumDepth
  }

  mutating func add(_ value: JSONValue) {
    guard let top = stack.indices.last else {
      root = value
      return
    }
    // Taken out and put back, so that the storage stays uniquely referenced and grows in place.
    switch stack[top] {
    case .array(var values):
      stack[top] = .array([])
      values.append(value)
      stack[top] = .array(values)
    case .object(var members, let key):
      stack[top] = .object([], key: "")
      members.append(.init(key: key, value: value))
      stack[top] = .object(members, key: "")
    }
  }

  mutating func name(_ key: String) {
    guard case .object(let members, _)? = stack.popLast() else { return }
    stack.append(.object(members, key: key))
  }

  mutating func open(array: Bool) -> Bool {
    guard stack.count < maximumDepth else {
      fault = "containers nested more than \(maximumDepth) deep"
      return false
    }
    stack.append(array ? .array([]) : .object([], key: ""))
    return true
  }

  mutating func close() {
    switch stack.popLast() {
    case .array(let values): add(.array(values))
    case .object(let members, _): add(.object(JSONObject(members)))
    case nil: break
    }
  }

  mutating func addNumber(_ text: String) -> Bool {
    if let value = Int(text) {
      add(.integer(value))
    } else if let value = Double(text), value.isFinite {
      add(.number(value))
    } else {
      fault = "the number \(text.prefix(40)) is out of range"
      return false
    }
    return true
  }

  static func of(_ context: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<JSONTreeBuilder> {
    // Safe: `parse` passes a builder that outlives the parser.
    context!.assumingMemoryBound(to: JSONTreeBuilder.self)
  }

  static func text(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> String {
    String(decoding: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self)
  }

  static var callbacks: yajl_callbacks {
    yajl_callbacks(
      yajl_null: { context in
        JSONTreeBuilder.of(context).pointee.add(.null)
        return 1
      },
      yajl_boolean: { context, value in
        JSONTreeBuilder.of(context).pointee.add(.bool(value != 0))
        return 1
      },
      yajl_integer: nil, yajl_double: nil,
      yajl_number: { context, bytes, count in
        let raw = UnsafeRawPointer(bytes)?.assumingMemoryBound(to: UInt8.self)
        return JSONTreeBuilder.of(context).pointee.addNumber(JSONTreeBuilder.text(raw, count)) ? 1 : 0
      },
      yajl_string: { context, bytes, count in
        JSONTreeBuilder.of(context).pointee.add(.string(JSONTreeBuilder.text(bytes, count)))
        return 1
      },
      yajl_start_map: { JSONTreeBuilder.of($0).pointee.open(array: false) ? 1 : 0 },
      yajl_map_key: { context, bytes, count in
        JSONTreeBuilder.of(context).pointee.name(JSONTreeBuilder.text(bytes, count))
        return 1
      },
      yajl_end_map: { context in
        JSONTreeBuilder.of(context).pointee.close()
        return 1
      },
      yajl_start_array: { JSONTreeBuilder.of($0).pointee.open(array: true) ? 1 : 0 },
      yajl_end_array: { context in
        JSONTreeBuilder.of(context).pointee.close()
        return 1
      })
  }
}
