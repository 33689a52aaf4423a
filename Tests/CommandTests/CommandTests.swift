import Foundation
import JSON
import Testing

@Suite struct CommandTests {
  private let model = CommandRunner.plain

  private func json(_ arguments: [String]) throws -> JSONValue {
    let outcome = try CommandRunner.run(arguments)
    #expect(outcome.status == 0, "\(arguments): \(outcome.errors)")
    return try JSONValue.parse(outcome.output)
  }

  @Test func generateJSONHasItsDocumentedKeys() throws {
    let document = try json(["generate", "-m", model, "--prompt-ids", "1,2,3", "-n", "4", "--json"])
    #expect(document.object?.members.map(\.key) == ["prompt_ids", "sequences", "usage", "timings"])
    #expect(document["prompt_ids"] == [1, 2, 3])
    let sequence = try #require(document["sequences"]?.array?.first)
    #expect(
      sequence.object?.members.map(\.key) == ["text", "token_ids", "logprobs", "score", "finish_reason"])
    let ids = try #require(sequence["token_ids"]?.array)
    #expect(sequence["logprobs"]?.array?.count == ids.count)
    #expect(document["usage"] == ["prompt_tokens": 3, "completion_tokens": .integer(ids.count)])
    #expect(
      document["timings"]?.object?.members.map(\.key)
        == ["load_ms", "prompt_ms", "prompt_per_second", "predicted_ms", "predicted_per_second"])
  }

  @Test func spellingsOfOtherToolsMeanTheSame() throws {
    func ids(_ flags: [String]) throws -> JSONValue? {
      try json(["generate", "-m", model, "--prompt-ids", "5,6", "--json"] + flags)["sequences"]?.array?
        .first?["token_ids"]
    }
    let plain = try ids([
      "-n", "6", "--num-beams", "3", "--no-repeat-ngram-size", "2", "--early-stopping", "true",
    ])
    for flags in [
      ["--max_new_tokens", "6", "--num_beams", "3", "--no_repeat_ngram_size", "2", "--early_stopping"],
      ["--n-predict=6", "--num-beams=3", "--early-stopping", "--no-repeat-ngram-size", "2"],
      ["--max-length", "8", "--no_repeat_ngram_size=2", "--early_stopping=true", "--num_beams", "3"],
    ] {
      #expect(try ids(flags) == plain, "\(flags)")
    }
    // The default command may be left out.
    let outcome = try CommandRunner.run(["-m", model, "--prompt-ids", "5,6", "-n", "3"])
    let named = try CommandRunner.run(["generate", "-m", model, "--prompt-ids", "5,6", "-n", "3"])
    #expect(outcome.output == named.output && outcome.status == 0)
  }

  @Test func theModelMayComeFromTheEnvironment() throws {
    let outcome = try CommandRunner.run(
      ["generate", "--prompt-ids", "1", "-n", "2", "-q"], environment: ["INKSTONE_MODEL": model])
    #expect(outcome.status == 0)
    #expect(outcome.errors.isEmpty)
  }

  @Test func samplingDependsOnTheSeedAlone() throws {
    func ids(_ flags: [String]) throws -> JSONValue? {
      try json(
        ["generate", "-m", model, "--prompt-ids", "5,6", "-n", "12", "--temp", "1.5", "--json"] + flags)[
          "sequences"]
    }
    let first = try ids(["--seed", "7"])
    #expect(try ids(["--seed", "7"]) == first)
    #expect(try ids(["--seed", "7", "--threads", "1"]) == first)
    #expect(try ids(["--seed", "8"]) != first)
  }

  @Test func anOutputFileHoldsTheResultAndNothingIsPrinted() throws {
    try CommandRunner.withTemporaryFolder { folder in
      let flags = ["generate", "-m", model, "--prompt-ids", "1,2", "-n", "3"]
      let printed = try CommandRunner.run(flags)
      let written = try CommandRunner.run(flags + ["-o", folder + "/out.txt"])
      #expect(written.output.isEmpty && written.status == 0)
      #expect(try String(contentsOfFile: folder + "/out.txt", encoding: .utf8) == printed.output)
    }
  }

  @Test(arguments: ["blas", "naive"])
  func verifyHolds(engine: String) throws {
    let report = try json(["verify", "-m", model, model + "/reference", "--engine", engine, "--json"])
    #expect(report["holds"] == true)
    #expect(report["failed"] == 0)
    #expect((report["passed"]?.int ?? 0) > 100)
  }

  @Test func aChangedModelFailsVerification() throws {
    try CommandRunner.withTemporaryFolder { folder in
      for name in ["config.json", "generation_config.json", "model.safetensors"] {
        try FileManager.default.copyItem(atPath: "\(model)/\(name)", toPath: "\(folder)/\(name)")
      }
      // One bit in the exponent of one weight, far into the data.
      let path = folder + "/model.safetensors"
      var data = try Data(contentsOf: URL(filePath: path))
      let headerLength = data.prefix(8).enumerated().reduce(0) { $0 + Int($1.element) << (8 * $1.offset) }
      let element = 8 + headerLength + (data.count - 8 - headerLength) / 8 * 4
      data[element + 2] ^= 0x80
      try data.write(to: URL(filePath: path))
      let outcome = try CommandRunner.run(["verify", "-m", folder, model + "/reference"])
      #expect(outcome.status == 1)
      #expect(outcome.output.contains("FAILED"))
    }
  }

  @Test func aRecordIsAReference() throws {
    try CommandRunner.withTemporaryFolder { folder in
      let recorded = try CommandRunner.run(["verify", "-m", model, "--record", folder + "/frozen"])
      #expect(recorded.status == 0, "\(recorded.errors)")
      let report = try json(["verify", "-m", model, folder + "/frozen", "--engine", "naive", "--json"])
      #expect(report["holds"] == true && report["skipped"] == 0)
      let check = try #require(report["checks"]?.array?.first)
      #expect((check["kl_divergence"]?.double ?? 1) < 1e-6)
      #expect(check["best_token_agreement"]?.double == 1)
    }
  }

  /// A model with fewer bits, and what its own evaluation says of it.
  @Test func quantizeTellsWhatItCosts() throws {
    try CommandRunner.withTemporaryFolder { folder in
      let text = folder + "/text.txt"
      let sentence = "春天来了，小河边的柳树发了芽。人工智能是研究如何让机器学习的学科。\n"
      try String(repeating: sentence, count: 12).write(toFile: text, atomically: true, encoding: .utf8)
      let report = try json([
        "quantize", "-m", "inkstone-zh", "-o", folder + "/model.gguf", "--dtype", "q4_0", "--gptq",
        "--calibration", text, "--evaluate", text, "--tune", "0", "--json", "-q",
      ])
      for key in ["kl_divergence", "best_token_agreement"] {
        let values = [report[key]?["nearest"]?.double, report[key]?["after"]?.double].compactMap { $0 }
        #expect(values.count == 2 && values.allSatisfy { $0 > 0 && $0 <= 1 }, "\(key) \(values)")
      }
      let divergence = report["kl_divergence"]
      #expect(try #require(divergence?["after"]?.double) < #require(divergence?["nearest"]?.double))
      let alone = try json([
        "perplexity", "-m", folder + "/model.gguf", "-f", text, "--json",
      ])
      let after = try #require(report["perplexity"]?["after"]?.double)
      #expect(abs(try #require(alone["perplexity"]?.double) / after - 1) < 1e-6)
    }
  }

  @Test func scoreAddsUp() throws {
    let document = try json(["score", "-m", model, "--prompt-ids", "1,2,3,4", "--json"])
    let scores = try #require(document["token_logprobs"]?.array)
    #expect(scores.count == 4 && scores[0].isNull)
    let total = scores.compactMap(\.double).reduce(0, +)
    #expect(abs((document["nll"]?.double ?? 0) + total) < 1e-9)
    #expect(abs((document["perplexity"]?.double ?? 0) - exp(-total / 3)) < 1e-9)
  }

  @Test func inspectAndDoctorTellWhatTheyDocument() throws {
    let inspection = try json(["inspect", "-m", model, "--tensors", "--json"])
    #expect(inspection["model_type"] == "gpt2")
    #expect(inspection["configuration"]?["vocabulary_size"]?.int == 101)
    #expect((inspection["tensors"]?.array?.count ?? 0) > 10)
    let diagnosis = try json(["doctor", "--json"])
    #expect(diagnosis["blas"]?["core_type"]?.string?.isEmpty == false)
    #expect(diagnosis["cpu"]?["offered"]?.array?.isEmpty == false)
    let pinned = try CommandRunner.run(["doctor"], environment: ["OPENBLAS_CORETYPE": "Haswell"])
    #expect(pinned.output.contains("unset OPENBLAS_CORETYPE"))
    let unknownCPU = try CommandRunner.run(["doctor"], environment: ["OPENBLAS_CORETYPE": "Prescott"])
    #expect(
      unknownCPU.output.contains("core type    Prescott")
        && unknownCPU.output.contains("unset OPENBLAS_CORETYPE"))
    let without = try CommandRunner.run(["doctor", "--json"], environment: ["INKSTONE_AMX": "0"])
    #expect(without.output.contains("\"amx\"") && !without.output.contains("\"amx\":true"))
    let chosen = try CommandRunner.run(["doctor"], environment: ["INKSTONE_PRODUCTS": "openblas"])
    #expect(chosen.output.contains("products       openblas"))
    let unknown = try CommandRunner.run(["doctor"], environment: ["INKSTONE_PRODUCTS": "mkl"])
    #expect(unknown.output.contains("\"mkl\"") && unknown.output.contains("unset INKSTONE_PRODUCTS"))
    let arguments = ["inspect", "-m", model]
    let refused = try CommandRunner.run(arguments, environment: ["INKSTONE_PRODUCTS": "mkl"])
    #expect(refused.status == 2 && refused.output.isEmpty)
    #expect(refused.errorLine.contains("INKSTONE_PRODUCTS is \"mkl\", not own or "))
    #expect(try CommandRunner.run(arguments, environment: ["INKSTONE_PRODUCTS": ""]).status == 0)
    let unclear = try CommandRunner.run(arguments, environment: ["INKSTONE_AMX": "off"])
    #expect(unclear.status == 2 && unclear.errorLine.contains("INKSTONE_AMX is \"off\", not 0 or 1"))
  }
}
