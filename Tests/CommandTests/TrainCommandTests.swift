import Foundation
import JSON
import Testing

@Suite struct TrainCommandTests {
  private static let model = "{model_type: gpt2, n_layer: 1, n_head: 2, n_embd: 16, n_positions: 16}"

  private func prepare(_ folder: String) throws -> [String] {
    let text = (0..<200).map { "line \($0) of \($0 * 7 % 13) lines\n" }.joined()
    try text.write(toFile: folder + "/text.txt", atomically: true, encoding: .utf8)
    try """
    model: \(TrainCommandTests.model)
    tokenizer: characters
    train: \(folder)/text.txt
    iters: 6
    batch_size: 2
    block_size: 16
    warmup_iters: 2
    sample_tokens: 4
    """.write(toFile: folder + "/run.yaml", atomically: true, encoding: .utf8)
    return ["train", "-c", folder + "/run.yaml", "-t", "1", "--out", folder + "/run"]
  }

  @Test func trainsAModelThatOtherCommandsUse() throws {
    try CommandRunner.withTemporaryFolder { folder in
      let arguments = try prepare(folder)
      let outcome = try CommandRunner.run(arguments + ["--iters", "8", "--set", "schedule=wsd"])
      #expect(outcome.status == 0, "\(outcome.errors)")
      let last = outcome.output.split(separator: "\n").last ?? ""
      #expect(last.wholeMatch(of: /validation loss \d+\.\d+ in \d+\.\d s/) != nil, "\(last)")
      #expect(outcome.errors.contains("step 8/8"))
      let generated = try CommandRunner.run(["generate", "-m", folder + "/run/model", "line", "-n", "5"])
      #expect(generated.status == 0 && !generated.output.isEmpty, "\(generated.errors)")
      let record = try String(contentsOfFile: folder + "/run/run.json", encoding: .utf8)
      #expect(record.contains("\"iters\": 8") && record.contains("\"schedule\": \"wsd\""))
      // A run is not begun twice over, but goes on.
      let again = try CommandRunner.run(arguments)
      #expect(again.status == 2 && again.errorLine.contains("--resume"))
      let more = try CommandRunner.run(["train", "--out", folder + "/run", "--resume", "--iters", "9"])
      #expect(more.status == 0 && more.errors.contains("goes on after step 8"), "\(more.errors)")
      let report = try CommandRunner.run(["report", folder + "/run", "-o", "-"])
      #expect(report.status == 0 && report.output.hasPrefix("<!DOCTYPE html>"))
      #expect(try CommandRunner.run(["report", folder]).status == 2)
    }
  }

  @Test(
    arguments: [
      (["--set", "learning_rat=1"], "did you mean learning_rate?"), (["--set", "iters"], "key=value"),
      (["--iters", "none"], "--iters: iters: must be a whole number"),
      (["--block-size", "17"], "16 positions"),
      (["--train", "/nowhere"], "/nowhere: no such file"), (["--set", "model.n_heads=2"], "n_heads"),
      (["--tokenizer", "/nowhere"], "/nowhere"), (["--resume"], "holds no run to resume"),
    ])
  func badUseIsOneLine(arguments: [String], expected: String) throws {
    try CommandRunner.withTemporaryFolder { folder in
      let outcome = try CommandRunner.run(try prepare(folder) + arguments)
      #expect(outcome.status == 2 && outcome.errorLine.contains(expected), "\(outcome.errors)")
      #expect(!outcome.errorLine.contains("\n") && outcome.output.isEmpty)
    }
  }

  @Test func benchTimesTrainingSteps() throws {
    let shape = ["bench", "--shape", "layers=1,heads=2,channels=16,vocabulary=50,context=64"]
    let outcome = try CommandRunner.run(shape + ["--train", "2x16", "-r", "2", "-t", "1", "-o", "json"])
    #expect(outcome.status == 0, "\(outcome.errors)")
    let records = try #require(
      try Array(outcome.output.utf8).withUnsafeBytes { try JSONValue.parse($0) }.array)
    #expect(records.count == 1 && records[0]["n_batch"]?.int == 2 && records[0]["n_block"]?.int == 16)
    #expect((records[0]["avg_ts"]?.double ?? 0) > 0 && (records[0]["fraction_of_limit"]?.double ?? 0) > 0)
    #expect(records[0]["samples_ts"]?.array?.count == 2)
    for wrong in ["4", "0x4", "2x65"] {
      #expect(try CommandRunner.run(shape + ["--train", wrong]).status == 2)
    }
  }
}
