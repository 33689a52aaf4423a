import JSON
import Testing

@testable import Tokenizers

/// Single steps against `tokenizers`.
@Suite struct PartsTests {
  static let parts = (try? Fixtures.json(Fixtures.reference.appending(path: "parts.json"))) ?? .null

  static func part(_ item: JSONValue) throws -> FieldReader {
    try FieldReader(#require(item["part"]), file: "parts.json", path: "part")
  }

  @Test func preTokenizersEqual() throws {
    let items = try #require(PartsTests.parts["pre_tokenizers"]?.array)
    #expect(items.count > 50)
    let scratch = RegexScratch()
    for item in items {
      let steps = try PipelineReader.preTokenizers(PartsTests.part(item), feedsBytes: false)
      for pair in try #require(item["cases"]?.array) {
        var text = try #require(pair.array?[0].string)
        let expected = try #require(pair.array?[1].array).compactMap(\.string)
        let pieces = try text.withUTF8 { bytes in
          var cut = PreTokenizedText(
            bytes, beginning: bytes.isEmpty ? 0 : UTF8Bytes.scalar(bytes.baseAddress!, 0).length)
          defer { cut.deallocate() }
          for step in steps { try step.apply(to: &cut, scratch: scratch) }
          return cut.pieces.map { String(decoding: cut.bytes($0), as: UTF8.self) }
        }
        #expect(
          pieces.map { Array($0.utf8) } == expected.map { Array($0.utf8) },
          "\(item["part"]!.text()) on \(text.debugDescription): \(pieces) for \(expected)")
      }
    }
  }

  @Test func normalizersEqual() throws {
    for item in try #require(PartsTests.parts["normalizers"]?.array) {
      let steps = try PipelineReader.normalizers(PartsTests.part(item))
      for pair in try #require(item["cases"]?.array) {
        let text = try #require(pair.array?[0].string)
        let expected = try #require(pair.array?[1].string)
        let out = try Tokenizer.Storage.normalize(Array(text.utf8), steps, RegexScratch())
        #expect(out == Array(expected.utf8), "\(item["part"]!.text()) on \(text.debugDescription)")
      }
    }
  }

  @Test func decodersEqual() throws {
    for item in try #require(PartsTests.parts["decoders"]?.array) {
      let steps = try PipelineReader.decoders(PartsTests.part(item))
      for pair in try #require(item["cases"]?.array) {
        let tokens = try #require(pair.array?[0].array).compactMap(\.string)
        let expected = try #require(pair.array?[1].string)
        var chain = DecodingChain(steps)
        let text = tokens.map { chain.push($0) }.joined() + chain.finish()
        #expect(
          Array(text.utf8) == Array(expected.utf8),
          "\(item["part"]!.text()) on \(tokens): \(text) for \(expected)")
      }
    }
  }

  /// Scores are rounded as the package's JSON parser rounds them.
  @Test func numbersEqual() throws {
    let pairs = try #require(PartsTests.parts["numbers"]?.array)
    var differing = 0
    for pair in pairs {
      let written = try #require(pair.array?[0].double)
      let read = try #require(pair.array?[1].double)
      #expect(RustNumber.parsed(written) == read, "\(written)")
      if written != read { differing += 1 }
    }
    #expect(differing > 10)
  }
}
