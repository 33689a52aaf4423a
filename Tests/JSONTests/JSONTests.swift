import JSON
import Testing

@Suite struct JSONTests {
  @Test func readsEveryKindAndKeepsOrder() throws {
    let value = try JSONValue.parse(#"{"b": [1, -2.5, 1e3, true, null], "a": {"é\u4eba\n": "\ud83d\ude00"}}"#)
    #expect(
      value == ["b": [1, -2.5, .number(1000), true, nil], "a": ["é人\n": "😀"]])
    #expect(value.object?.members.map(\.key) == ["b", "a"])
  }

  @Test func integersBeyond64BitsBecomeNumbers() throws {
    #expect(try JSONValue.parse("1000000000000000019884624838656") == .number(1e30))
    #expect(try JSONValue.parse("9223372036854775807") == .integer(.max))
    #expect(try JSONValue.parse("3.0").int == 3)
    #expect(try JSONValue.parse("3.5").int == nil)
  }

  @Test(arguments: [
    "", " ", "{", "[1,", "{\"a\"}", "nul", "1 2", "[1e999]", "\"\u{1}\"", "{\"a\": 1,}", "NaN", "'a'",
    "[1] x",
  ])
  func refuses(_ text: String) {
    #expect(throws: JSONError.self) { try JSONValue.parse(text) }
  }

  @Test func refusesInvalidUTF8AndDeepNesting() {
    let invalid: [UInt8] = [0x22, 0xC3, 0x28, 0x22]
    #expect(throws: JSONError.self) { try invalid.withUnsafeBytes { try JSONValue.parse($0) } }
    let deep = [UInt8](repeating: UInt8(ascii: "["), count: 10_000_000)
    #expect(throws: JSONError.self) { try deep.withUnsafeBytes { try JSONValue.parse($0) } }
  }

  @Test func writesWhatItReads() throws {
    let value: JSONValue = [
      "t": "\"\\\u{1}\u{7F}人\n", "n": [0.1, -3, 1e-7], "e": [:], "l": [[1, 2], []], "x": nil,
    ]
    #expect(try JSONValue.parse(value.text()) == value)
    #expect(try JSONValue.parse(value.text(.indented)) == value)
    #expect(JSONValue.number(.nan).text() == "null")
    #expect((["a": [1, 2]] as JSONValue).text() == #"{"a": [1, 2]}"#)
  }

  @Test func skipsAByteOrderMark() throws {
    #expect(try JSONValue.parse("\u{FEFF}[1]") == [1])
  }
}
