import Foundation
import JSON
import Testing

@Suite struct BenchTests {
  private static let tiny = ["bench", "--shape", "layers=1,heads=2,channels=16,vocabulary=50,context=64"]

  @Test func printsOneRecordPerTestAndEngine() throws {
    let outcome = try CommandRunner.run(
      BenchTests.tiny + ["-p", "4,8", "-n", "2", "-r", "1", "-t", "1", "--engine", "both", "-o", "json"])
    #expect(outcome.status == 0, "\(outcome.errors)")
    let records = try #require(
      try Array(outcome.output.utf8).withUnsafeBytes { try JSONValue.parse($0) }.array)
    #expect(records.map { $0["test"]?.string } == ["pp4", "pp4", "pp8", "pp8", "tg2", "tg2"])
    #expect(records.map { $0["engine"]?.string } == ["blas", "naive", "blas", "naive", "blas", "naive"])
    #expect(outcome.errors.contains("OPENBLAS_*"))
  }

  @Test func savesAModelThatOtherCommandsRead() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "inkstone-bench-\(UUID().uuidString)")
      .path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    #expect(try CommandRunner.run(BenchTests.tiny + ["--save", folder]).status == 0)
    let outcome = try CommandRunner.run([
      "generate", "-m", folder, "--prompt-ids", "1,2", "-n", "3", "--json",
    ])
    #expect(outcome.status == 0, "\(outcome.errors)")
    let again = try CommandRunner.run(["bench", "-m", folder, "-p", "4", "-n", "0", "-r", "1", "-t", "1"])
    #expect(again.status == 0 && again.output.contains("pp4"), "\(again.errors)")
  }

  @Test func servesSlices() throws {
    let requests = [
      #"{"op": "read", "seconds": 0}"#, #"{"op": "multiply", "seconds": 0}"#,
      #"{"op": "prompt", "count": 9, "start": 3}"#,
      #"{"op": "decode", "count": 4}"#, #"{"op": "decode", "count": 2, "start": 5, "rows": 3}"#,
      #"{"op": "beams", "prompt": 3, "count": 7, "beams": 3, "ngram": 2}"#,
      #"{"op": "train", "batch": 2, "block": 8, "count": 3}"#,
    ]
    let outcome = try CommandRunner.run(
      BenchTests.tiny + ["--serve", "-t", "2"], input: Data((requests.joined(separator: "\n") + "\n").utf8))
    #expect(outcome.status == 0, "\(outcome.errors)")
    let answers = try outcome.output.split(separator: "\n").map { try JSONValue.parse(String($0)) }
    try #require(answers.count == 8, "\(outcome.output)")
    #expect(answers[0]["ready"]?.bool == true && answers[0]["n_threads"]?.int == 2)
    for answer in answers[1...2] { #expect((answer["rate"]?.double ?? 0) > 0, "\(answer.text())") }
    #expect(answers[3...].map { $0["tokens"]?.int } == [9, 4, 6, 7, 48])
    for answer in answers[3...] { #expect((answer["seconds"]?.double ?? 0) > 0, "\(answer.text())") }
    // 2 per weight of the block, 4 per channel and visible position (3 + 5 on average), and the head once in nine tokens.
    #expect(
      abs((answers[3]["operations_per_token"]?.double ?? 0) - (2 * 3072 + 4 * 16 * 8 + 2 * 800 / 9.0)) < 1e-6)
  }

  @Test(
    arguments: [
      ("x", "JSON"), ("{}", "op"), (#"{"op": "fly"}"#, "fly"), (#"{"op": "prompt"}"#, "count"),
      (#"{"op": "prompt", "count": 65}"#, "64"), (#"{"op": "decode", "count": 1, "rows": 2}"#, "start"),
      (#"{"op": "decode", "count": 1, "start": 64}"#, "start"),
      (#"{"op": "read", "seconds": 1e9}"#, "seconds"),
      (#"{"op": "train", "batch": 1, "block": 65}"#, "block"),
      (#"{"op": "beams", "prompt": 64, "count": 1}"#, "context"),
    ] as [(String, String)])
  func answersWhatCannotBeServed(request: String, word: String) throws {
    let outcome = try CommandRunner.run(BenchTests.tiny + ["--serve"], input: Data((request + "\n").utf8))
    #expect(outcome.status == 0, "\(outcome.errors)")
    let answer = try JSONValue.parse(String(outcome.output.split(separator: "\n").last ?? ""))
    #expect(answer["error"]?.string?.contains(word) == true, "\(outcome.output)")
  }

  @Test(
    arguments: [
      (["bench", "--shape", "gpt2-tiny", "--serve", "--train", "1x2"], ["--serve", "--train"]),
      (["bench", "--shape", "gpt9"], ["--shape gpt9", "gpt2-124m"]),
      (["bench", "--shape", "layers=1"], ["--shape", "heads"]),
      (["bench", "--shape", "gpt2-tiny", "-p", "2000"], ["pp2000", "1024", "-p"]),
      (["bench", "--shape", "gpt2-tiny", "-p", "x"], ["-p"]),
      (["bench", "--shape", "gpt2-tiny", "-p", "0", "-n", "0"], ["-p", "-n"]),
      (["bench", "--shape", "gpt2-tiny", "-p", "9223372036854775807", "-d", "2"], ["-p"]),
      (["bench", "--shape", "gpt2-tiny", "-t", "0"], ["-t", "0"]),
      (["bench", "--shape", "gpt2-tiny", "-r", "0"], ["-r", "0"]),
      (["bench", "--shape", "gpt2-tiny", "-o", "xml"], ["xml"]),
      (["bench", "--shape", "gpt2-tiny", "--suite", "x", "-p", "1,2"], ["--suite", "-p"]),
      (["bench", "--shape", "gpt2-tiny", "-m", "y"], ["-m", "--shape"]),
      (["bench", "-m", "y", "--save", "x"], ["--save", "--shape"]),
      (["bench", "-m", "/nonexistent/model"], ["/nonexistent/model"]),
      (
        ["bench", "--shape", "layers=900,heads=8,channels=65536,vocabulary=50000,context=1024"],
        ["memory", "weights", "available"]
      ),
    ] as [([String], [String])])
  func refusesInOneLine(arguments: [String], words: [String]) throws {
    let outcome = try CommandRunner.run(arguments)
    #expect(outcome.status == 2 && !outcome.signaled, "\(arguments): exit status \(outcome.status)")
    #expect(outcome.output.isEmpty)
    #expect(!outcome.errorLine.contains("\n"), "\(outcome.errors)")
    for word in words { #expect(outcome.errorLine.contains(word), "\(arguments): \(outcome.errorLine)") }
  }
}
