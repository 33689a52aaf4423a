import Foundation
import JSON
import Testing

/// Bad input gets one clear line, exit status 2, and nothing on standard output that looks like a result.
@Suite struct BadInputTests {
  private func expectRefusal(
    _ arguments: [String], naming words: [String], input: Data? = nil, environment: [String: String] = [:]
  ) throws {
    let outcome = try CommandRunner.run(arguments, input: input, environment: environment)
    #expect(outcome.status == 2 && !outcome.signaled, "\(arguments): exit status \(outcome.status)")
    #expect(outcome.output.isEmpty, "\(arguments) printed \(outcome.output)")
    #expect(!outcome.errorLine.contains("\n"), "\(arguments): more than one line: \(outcome.errors)")
    for word in words { #expect(outcome.errorLine.contains(word), "\(arguments): \(outcome.errorLine)") }
  }

  @Test(
    arguments: [
      (["--prompt-ids", "1,2", "-n", "0"], ["--max-new-tokens"]),
      (["--prompt-ids", "1,2", "--temp", "-1"], ["--temperature", "-1"]),
      (["--prompt-ids", "1,2", "--top-p", "1.5"], ["--top-p"]),
      (["--prompt-ids", "1,2", "--num-beams", "0"], ["--num-beams"]),
      (
        ["--prompt-ids", "1,2", "--num-beams", "2", "--num-return-sequences", "3"],
        ["num_return_sequences", "num_beams"]
      ),
      (["--prompt-ids", "1,2", "--num-return-sequences", "3"], ["num_return_sequences"]),
      (["--prompt-ids", "1,2", "--max-length", "2"], ["max_length"]),
      (["--prompt-ids", "1,2", "--do-sample", "--temp", "0"], ["--do-sample", "--temp"]),
      (["--prompt-ids", "1,2", "-v", "-q"], ["--verbose", "--quiet"]),
      (["--prompt-ids", "1,2", "a text"], ["more than once"]),
      (["--prompt-ids", "1,99999"], ["99999"]),
      (["--prompt-ids", "1,x"], ["--prompt-ids", "x"]),
      (["--prompt-ids", ""], ["prompt"]),
      (["--prompt-ids", "1", "--threads", "0"], ["--threads"]),
      (["--prompt-ids", "1", "--dtype", "q3_K"], ["--dtype", "q3_K", "q4_K"]),
      (["--prompt-ids", "1", "--ctx-size", "0"], ["--ctx-size"]),
      (["--prompt-ids", "1", "--ctx-size", "1"], ["context"]),
      (["--prompt-ids", "1", "--generation-config", "/nonexistent/g.json"], ["/nonexistent/g.json"]),
      (["--prompt-ids", "1", "-o", "/nonexistent/out.txt"], ["/nonexistent"]),
      (["a text"], ["no tokenizer", "--prompt-ids"]),
      (["--prompt-ids", "1", "--early-stopping", "--no-such-flag"], ["--no-such-flag"]),
    ] as [([String], [String])])
  func refuses(flags: [String], words: [String]) throws {
    try expectRefusal(["generate", "-m", CommandRunner.plain] + flags, naming: words)
  }

  @Test(
    arguments: [
      (["--dtype", "q3_K"], ["--dtype", "q3_K"]),
      (["--dtype", "q4_K", "--gptq", "--calibration", "x.txt"], ["--gptq", "q4_0", "q4_K"]),
      (["--dtype", "q4_0", "--gptq"], ["--calibration"]),
      (["--dtype", "q4_0", "--calibration", "x.txt"], ["--gptq"]),
      (["--dtype", "q4_0", "--format", "safetensors"], ["safetensors", "q4_0"]),
      (["--dtype", "q4_0", "--gptq", "--calibration", "/nonexistent/x.txt"], ["/nonexistent/x.txt"]),
      (["--dtype", "q4_0", "--evaluate", "/nonexistent/x.txt"], ["/nonexistent/x.txt"]),
      (["--dtype", "q4_0", "--calibration-tokens", "3"], ["--calibration-tokens", "3"]),
      (["--dtype", "q4_0", "--tune", "2"], ["--tune", "--gptq"]),
      (["--dtype", "q4_0", "--gptq", "--calibration", "x.txt", "--tune", "-1"], ["--tune", "-1"]),
    ] as [([String], [String])])
  func refusesToQuantize(flags: [String], words: [String]) throws {
    try CommandRunner.withTemporaryFolder { folder in
      try expectRefusal(
        ["quantize", "-m", CommandRunner.plain, "-o", "\(folder)/out.gguf"] + flags, naming: words)
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
    }
  }

  @Test func aPromptLongerThanTheContext() throws {
    let ids = [String](repeating: "1", count: 500).joined(separator: ",")
    try expectRefusal(["generate", "-m", CommandRunner.plain, "--prompt-ids", ids], naming: ["500", "48"])
  }

  @Test func models() throws {
    try expectRefusal(
      ["generate", "-m", "/nonexistent", "--prompt-ids", "1"], naming: ["/nonexistent/config.json"])
    try CommandRunner.withTemporaryFolder { folder in
      try expectRefusal(["generate", "-m", folder, "--prompt-ids", "1"], naming: ["config.json"])
      func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(filePath: "\(folder)/\(name)"))
      }
      try write("config.json", "{\"model_type\": \"mamba\"}")
      try expectRefusal(["inspect", "-m", folder], naming: ["config.json", "mamba", "gpt2"])
      try write("config.json", "{\"model_type\": \"gpt2\", \"n_embd\": 10, \"n_head\": 3}")
      try expectRefusal(["inspect", "-m", folder], naming: ["config.json", "n_head", "n_embd"])
      try write("config.json", "{\"model_type\": \"gpt2\", \"activation_function\": \"snake\"}")
      try expectRefusal(
        ["inspect", "-m", folder], naming: ["config.json", "activation_function", "snake", "gelu_new"])
      try write("config.json", String(repeating: "[", count: 100_000))
      try expectRefusal(["inspect", "-m", folder], naming: ["config.json", "deep"])
      try write("config.json", "")
      try expectRefusal(["inspect", "-m", folder], naming: ["config.json"])
    }
  }

  /// A file that is given as a model, and is none.
  @Test(
    arguments: [
      ("a.gguf", "", ["a.gguf", "empty"]), ("b.gguf", "GGML", ["b.gguf", "GGUF"]),
      ("c.bin", "anything", ["c.bin", "GGUF"]),
      ("d.safetensors", "\u{2}\0\0\0\0\0\0\0{}", ["d.safetensors", "folder"]),
      ("e.gguf", "version https://git-lfs.github.com/spec/v1\n", ["e.gguf", "git lfs pull"]),
    ] as [(String, String, [String])])
  func modelFiles(name: String, contents: String, words: [String]) throws {
    try CommandRunner.withTemporaryFolder { folder in
      let path = folder + "/" + name
      try Data(contents.utf8).write(to: URL(filePath: path))
      for command in [["generate", "--prompt-ids", "1"], ["inspect"]] {
        try expectRefusal(command + ["-m", path], naming: words)
      }
    }
  }

  /// Config and weights that disagree: wrong shape, missing and unexpected tensors.
  @Test func disagreement() throws {
    try CommandRunner.withTemporaryFolder { folder in
      let source = CommandRunner.plain
      try FileManager.default.copyItem(
        atPath: source + "/model.safetensors", toPath: folder + "/model.safetensors")
      let config = try String(contentsOfFile: source + "/config.json", encoding: .utf8)
      let layers = try #require(try JSONValue.parse(config)["n_layer"]?.int)
      func write(_ field: String, _ value: Int) throws {
        let changed = config.replacing(
          try Regex("\"\(field)\": [0-9]+"), with: "\"\(field)\": \(value)")
        try Data(changed.utf8).write(to: URL(filePath: folder + "/config.json"))
      }
      try write("n_layer", layers + 1)
      try expectRefusal(
        ["generate", "-m", folder, "--prompt-ids", "1"], naming: ["h.\(layers).", "missing"])
      try write("n_layer", layers - 1)
      try expectRefusal(
        ["generate", "-m", folder, "--prompt-ids", "1"], naming: ["h.\(layers - 1).", "unknown"])
      try write("vocab_size", 7)
      try expectRefusal(["generate", "-m", folder, "--prompt-ids", "1"], naming: ["wte.weight", "shape"])
      try write("n_layer", 16_384)
      try expectRefusal(["generate", "-m", folder, "--prompt-ids", "1"], naming: ["missing"])
    }
  }

  /// A conversion that cannot be writes nothing.
  @Test func conversions() throws {
    try CommandRunner.withTemporaryFolder { folder in
      func refuse(_ arguments: [String], naming words: [String]) throws {
        try expectRefusal(["convert"] + arguments, naming: words)
      }
      let output = folder + "/out.gguf"
      try refuse(
        ["-m", CommandRunner.plain, "-o", output, "--outtype", "q3_K"], naming: ["--outtype", "q3_K", "q8_0"])
      try refuse(
        ["-m", CommandRunner.plain, "-o", folder + "/new", "--outtype", "q8_0"],
        naming: ["--outtype", ".gguf"])
      try refuse(["-m", CommandRunner.fixtures + "/opt-norm-before", "-o", output], naming: ["opt", "GGUF"])
      try refuse(["-m", folder + "/nothing", "-o", output], naming: ["nothing"])
      try refuse(
        ["-m", CommandRunner.plain, "-o", CommandRunner.plain], naming: ["config.json", "empty folder"])
      try Data("GGUF".utf8).write(to: URL(filePath: folder + "/short.gguf"))
      try refuse(["-m", CommandRunner.plain, "-o", folder + "/short.gguf/x"], naming: ["short.gguf/x"])
      try Data().write(to: URL(filePath: folder + "/file"))
      try refuse(["-m", CommandRunner.plain, "-o", folder + "/file"], naming: ["/file", ".gguf"])
      try FileManager.default.removeItem(atPath: folder + "/file")
      try refuse(["-m", folder + "/short.gguf", "-o", folder + "/new"], naming: ["short.gguf"])
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["short.gguf"])
    }
  }

  @Test func references() throws {
    try expectRefusal(["verify", "-m", CommandRunner.plain, "/nonexistent"], naming: ["/nonexistent"])
    try expectRefusal(["verify", "-m", CommandRunner.plain], naming: ["--record"])
    try expectRefusal(
      ["verify", "-m", CommandRunner.fixtures + "/gpt2-odd-sizes", CommandRunner.plain + "/reference"],
      naming: ["shape"])
  }

  @Test func fullDiskAndClosedPipe() throws {
    guard let full = FileHandle(forWritingAtPath: "/dev/full") else { return }
    let outcome = try CommandRunner.run(
      ["generate", "-m", CommandRunner.plain, "--prompt-ids", "1", "-n", "3"], output: full)
    #expect(outcome.status == 2)
    #expect(outcome.errorLine.contains("standard output"))

    let pipe = Pipe()
    try pipe.fileHandleForReading.close()
    let closed = try CommandRunner.run(
      ["generate", "-m", CommandRunner.plain, "--prompt-ids", "1", "-n", "3"],
      output: pipe.fileHandleForWriting)
    #expect(closed.status == 2 && !closed.signaled)
    #expect(closed.errorLine.contains("standard output"))
  }
}
