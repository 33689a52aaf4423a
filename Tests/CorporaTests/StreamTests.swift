import Checkpoints
import Foundation
import JSON
import Kernels
import Testing
import _TestSupport

@testable import Corpora

private func read(
  _ paths: [String], _ layout: DocumentLayout = .automatic, field: String = "text",
  keepsLineEnds: Bool = false,
  batchSize: Int = 1 << 22
) throws -> [String] {
  try DocumentReader(
    paths: paths, layout: layout, field: field, keepsLineEnds: keepsLineEnds, pool: CorpusFixtures.pool,
    batchSize: batchSize
  ).texts()
}

@Suite("Reading documents")
struct ReaderTests {
  @Test("Lines, paragraphs and files, in batches of any size", arguments: [1, 2, 3, 7, 64, 1 << 20])
  func layouts(batchSize: Int) throws {
    let folder = try TemporaryFolder()
    let path = try folder.write("one\r\ntwo\n\n \t\r\nthree\n人工\r\n\n\n\nlast", "a.txt")
    #expect(try read([path], .line, batchSize: batchSize) == ["one", "two", " \t", "three", "人工", "last"])
    #expect(
      try read([path], .line, keepsLineEnds: true, batchSize: batchSize)
        == ["one\r\n", "two\n", "\n", " \t\r\n", "three\n", "人工\r\n", "\n", "\n", "\n", "last"])
    #expect(
      try read([path], .paragraph, batchSize: batchSize) == ["one\r\ntwo", "three\n人工", "last"])
    #expect(
      try read([path], .file, batchSize: batchSize) == ["one\r\ntwo\n\n \t\r\nthree\n人工\r\n\n\n\nlast"])
    #expect(try read([path, path], batchSize: batchSize).count == 12)
  }

  @Test("Random text is cut the same by batches of any size")
  func batches() throws {
    let folder = try TemporaryFolder()
    for seed in 0..<30 {
      var random = SeededGenerator(seed: UInt64(seed))
      let pieces = ["\n", "\n\n", "a", " ", "人", "\r\n", "\t", "\n \n"]
      let text = (0..<400).map { _ in pieces.randomElement(using: &random)! }.joined()
      let path = try folder.write(text, "a.txt")
      for layout in [DocumentLayout.line, .paragraph, .file] {
        let whole = try read([path], layout)
        for size in [1, 5, 33, 100] { #expect(try read([path], layout, batchSize: size) == whole, "\(seed)") }
      }
      let lines = text.utf8.split(separator: 0x0A).map { $0.last == 0x0D ? $0.dropLast() : $0 }
        .filter { !$0.isEmpty }.map { String(decoding: $0, as: UTF8.self) }
      #expect(try read([path], .line) == lines)
      // Blank lines, whatever is on them, are all that parts paragraphs.
      let joined = try read([path], .paragraph).map { $0.filter { !$0.isWhitespace } }.joined()
      #expect(joined == text.filter { !$0.isWhitespace })
    }
  }

  @Test("JSON lines, with the place of each fault")
  func json() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write(
      #"{"id": 1, "text": "a\nb"}"# + "\n\n" + #"{"text": "", "id": 2}"# + "\r\n"
        + #"{"text": "人\ud83d\ude00"}"#,
      "a.jsonl")
    for size in [1, 30, 1 << 20] { #expect(try read([path], batchSize: size) == ["a\nb", "人😀"]) }
    let reader = try DocumentReader(paths: [path], pool: CorpusFixtures.pool)
    let batch = try #require(try reader.next())
    #expect(batch.lines == [1, 4])
    #expect(batch.records[0]["id"] == 1)

    func fault(_ text: String) throws -> String {
      let path = try folder.write(text, "bad.jsonl")
      do {
        _ = try read([path])
        return "none"
      } catch {
        return "\(error)"
      }
    }
    #expect(try fault("{\"text\": \"a\"}\n{\"text\": 1}").contains("bad.jsonl, line 2: text is an integer"))
    #expect(try fault("\n\n[1]").contains("line 3: is an array, not an object"))
    #expect(try fault("{\"body\": \"a\", \"id\": 1}").contains("line 1: has no field text (it has body, id)"))
    #expect(try fault("{\"text\": \"a\"}\n{\"text\": ").contains("line 2: not valid JSON"))
    #expect(try fault("{\"text\": \"\u{0}\"}").contains("line 1"))
    #expect(try read([try folder.write(#"{"body": "x"}"#, "b.ndjson")], field: "body") == ["x"])
  }

  @Test("Gzip, by its mark and not by its name, with several members")
  func compressed() throws {
    let folder = try TemporaryFolder()
    let packed = try readFile(CorpusFixtures.folder + "/text.txt.gz")
    let path = try folder.write(packed, "a.txt")
    #expect(try read([path], .file).joined().utf8.elementsEqual(CorpusFixtures.text))
    try folder.write(packed + packed + [0, 0, 0], "a.txt")
    #expect(try read([path], .file).joined().utf8.elementsEqual(CorpusFixtures.text + CorpusFixtures.text))
    let reader = try DocumentReader(paths: [path], pool: CorpusFixtures.pool)
    while try reader.next() != nil {}
    #expect(reader.position == 2 * packed.count + 3 && reader.totalBytes == reader.position)
    for count in [2, 9, 10, 100, packed.count - 8, packed.count - 1] {
      try folder.write(Array(packed[..<count]), "a.txt")
      #expect(throws: CorpusError.self, "cut at \(count)") { try read([path], .file) }
    }
    var random = SeededGenerator(seed: 9)
    for _ in 0..<200 {
      var damaged = packed
      damaged[Int.random(in: 0..<packed.count, using: &random)] ^=
        1 << UInt8.random(in: 0..<8, using: &random)
      try folder.write(damaged, "a.txt")
      // A damaged name or time of the header is no fault of the text.
      if let text = try? read([path], .file).joined(), damaged[..<2] == [0x1F, 0x8B] {
        #expect(text.utf8.elementsEqual(CorpusFixtures.text))
      }
    }
  }

  @Test("What cannot be read is named before anything else is done")
  func missing() throws {
    let folder = try TemporaryFolder()
    #expect(throws: FileError.missing(path: folder("absent"))) { try read([folder("absent")]) }
    #expect(throws: FileError.isDirectory(path: folder.path)) { try read([folder.path]) }
    #expect(try read([try folder.write("", "empty.txt")]) == [])
  }
}

@Suite("Writing documents")
struct WriterTests {
  @Test("What is written is read, in every layout, compressed or not")
  func roundTrip() throws {
    let folder = try TemporaryFolder()
    let documents = ["a b", "人工\n智能", "x\n\n \ny", "\"quoted\" \\ \u{1}"]
    for name in ["a.txt", "a.txt.gz", "b.jsonl", "b.jsonl.gz"] {
      for layout in DocumentWriter.Layout.allCases where (layout == .jsonl) == name.contains("jsonl") {
        let writer = try DocumentWriter(path: folder(name), layout: layout)
        for document in documents { try writer.write(Array(document.utf8), record: nil) }
        #expect(!fileExists(folder(name)))
        try writer.finish()
        let read = try read([folder(name)], layout == .paragraph ? .paragraph : .automatic)
        switch layout {
        case .jsonl: #expect(read == documents)
        case .line: #expect(read == ["a b", "人工 智能", "x    y", documents[3]])
        case .paragraph: #expect(read == ["a b", "人工\n智能", "x\ny", documents[3]])
        case .file: #expect(read == ["a b", "人工", "智能", "x", " ", "y", documents[3]])
        }
        if name.hasSuffix(".gz") { #expect(try readFile(folder(name))[..<2] == [0x1F, 0x8B]) }
        unlink(folder(name))
      }
    }
  }

  @Test("A record keeps its other fields and their order")
  func records() throws {
    var out: [UInt8] = []
    let writer = DocumentWriter(layout: .jsonl, field: "body") { out += $0 }
    try writer.write(
      Array("new".utf8), record: try JSONValue.parse(#"{"id": 7, "body": "old", "z": [1]}"#).object)
    try writer.finish()
    #expect(String(decoding: out, as: UTF8.self) == "{\"id\": 7, \"body\": \"new\", \"z\": [1]}\n")
  }

  @Test("Much text goes through the compressor in pieces")
  func large() throws {
    let folder = try TemporaryFolder()
    var random = SeededGenerator(seed: 2)
    let documents = (0..<300).map { _ in
      String(decoding: (0..<20_000).map { _ in UInt8.random(in: 97...122, using: &random) }, as: UTF8.self)
    }
    let writer = try DocumentWriter(path: folder("a.gz"), layout: .line)
    for document in documents { try writer.write(Array(document.utf8), record: nil) }
    try writer.finish()
    #expect(try read([folder("a.gz")]) == documents)
  }
}
