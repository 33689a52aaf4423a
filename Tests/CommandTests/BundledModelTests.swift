import Foundation
import JSON
import Testing

/// The models that come with the project: they are what their references say, they are small, and they write well.
@Suite struct BundledModelTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..")
    .standardizedFileURL.path
  private static let model = root + "/Models/inkstone-zh"
  private static let chat = root + "/Models/inkstone-zh-chat"

  private static func prompts() throws -> [String] {
    try String(contentsOfFile: model + "/recipe/prompts.txt", encoding: .utf8).split(separator: "\n")
      .map(String.init)
  }

  private static func byteCount(_ folder: String) throws -> Int {
    let files = FileManager.default
    return try files.subpathsOfDirectory(atPath: folder).reduce(0) { sum, name in
      let attributes = try files.attributesOfItem(atPath: folder + "/" + name)
      guard attributes[.type] as? FileAttributeType == .typeRegular else { return sum }
      return sum + (attributes[.size] as? Int ?? 0)
    }
  }

  /// Weights are looked at while the first pass uses them: nothing has been written by then, not even the prompt.
  @Test(
    arguments: [
      ["人工智能是", "--echo"], ["人工智能是", "--num-beams", "3", "--json"], ["人工智能是", "--dtype", "q8_0"],
      ["人工智能是", "--engine", "naive", "--prompt-cache", "prompt.kv"],
      ["-f", "prompts.jsonl", "--batch-size", "2"],
    ])
  func aDamagedCopyWritesNothing(flags: [String]) throws {
    try CommandRunner.withTemporaryFolder { folder in
      let files = FileManager.default
      for name in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
        try files.copyItem(atPath: "\(Self.model)/\(name)", toPath: "\(folder)/\(name)")
      }
      var data = try Data(contentsOf: URL(filePath: Self.model + "/model.safetensors"))
      // The last bytes belong to some tensor, and are a NaN in every type of float.
      data.replaceSubrange(data.count - 4..<data.count, with: [0xFF, 0x7F, 0xFF, 0x7F])
      try data.write(to: URL(filePath: folder + "/model.safetensors"))
      try "{\"prompt\": \"人工智能是\"}\n{\"prompt\": \"词向量\"}\n".write(
        toFile: folder + "/prompts.jsonl", atomically: true, encoding: .utf8)
      let local = flags.map { $0.contains(".") ? "\(folder)/\($0)" : $0 }
      let outcome = try CommandRunner.run(["generate", "-m", folder, "-n", "3"] + local)
      #expect(outcome.status == 2 && !outcome.signaled && outcome.output.isEmpty, "\(outcome)")
      #expect(
        outcome.errorLine.contains("model.safetensors: tensor '") && outcome.errorLine.contains("holds nan"),
        "\(outcome)")
      #expect(!files.fileExists(atPath: folder + "/prompt.kv"))
    }
  }

  /// Weights that are numbers, and scores that are not: no command writes those as if they were.
  @Test(
    arguments: [
      ["perplexity", "-f", "text.txt"], ["perplexity", "-f", "text.txt", "--json"], ["score", "人工智能是"],
      ["score", "人工智能是", "--json"], ["eval", "--text", "t=text.txt"], ["eval", "--questions", "cloze.jsonl"],
      ["quantize", "--dtype", "bf16", "--evaluate", "text.txt", "-o", "model.gguf"],
      ["generate", "人工智能是"], ["generate", "-f", "prompts.jsonl"], ["chat"],
    ])
  func aModelThatOverflowsScoresNothing(arguments: [String]) throws {
    try CommandRunner.withTemporaryFolder { folder in
      for name in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
        try FileManager.default.copyItem(atPath: "\(Self.model)/\(name)", toPath: "\(folder)/\(name)")
      }
      var data = try Data(contentsOf: URL(filePath: Self.model + "/model.safetensors"))
      let length = data.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
      let header = try #require(
        try JSONSerialization.jsonObject(with: data[8..<8 + length]) as? [String: [String: Any]])
      // The last element of every tensor becomes 8·10³⁷, which bfloat16 holds and no sum of such survives.
      for case let offsets as [Int] in header.values.compactMap({ $0["data_offsets"] }) {
        data.replaceSubrange(8 + length + offsets[1] - 2..<8 + length + offsets[1], with: [0x7E, 0x7E])
      }
      try data.write(to: URL(filePath: folder + "/model.safetensors"))
      try "人工智能是研究如何让机器学习的学科。".write(
        toFile: folder + "/text.txt", atomically: true, encoding: .utf8)
      try "{\"text\": \"人工智能是\", \"target\": \"研究\"}\n".write(
        toFile: folder + "/cloze.jsonl", atomically: true, encoding: .utf8)
      try "{\"prompt\": \"人工智能是\"}\n".write(
        toFile: folder + "/prompts.jsonl", atomically: true, encoding: .utf8)
      let local = arguments.map { argument in
        ["text.txt", "cloze.jsonl", "prompts.jsonl", "model.gguf"].reduce(argument) {
          $0.replacingOccurrences(of: $1, with: "\(folder)/\($1)")
        }
      }
      let outcome = try CommandRunner.run(
        [local[0], "-m", folder] + local.dropFirst(), input: local[0] == "chat" ? Data("人工智能是\n".utf8) : nil)
      #expect(outcome.status == 2 && !outcome.signaled && outcome.output.isEmpty, "\(outcome)")
      // The model itself, not a file in its folder; quantize measures what it made too.
      let places = ["inkstone: \(folder): ", "inkstone: \(folder), or what was made of it: "]
      let message = "the model's logits"
      #expect(places.contains { outcome.errors.contains($0 + message) }, "\(outcome)")
      #expect(outcome.errors.contains("not numbers (NaN or infinite)"), "\(outcome)")
    }
  }

  /// Without -m, a system message takes the model that chats, for prompts from lines as for one.
  @Test func promptsFromLinesTalkWithTheModelThatChats() throws {
    try CommandRunner.withTemporaryFolder { folder in
      let file = folder + "/prompts.jsonl"
      try "{\"prompt\": \"你好\"}\n".write(toFile: file, atomically: true, encoding: .utf8)
      func answer(_ flags: [String]) throws -> String {
        let outcome = try CommandRunner.run(
          ["generate", "-f", file, "--system", "简短回答。", "-n", "8", "-q", "--format", "text"] + flags,
          environment: ["INKSTONE_MODEL": ""])
        #expect(outcome.status == 0, "\(outcome)")
        return outcome.output
      }
      let own = try answer([])
      #expect(own == (try answer(["-m", Self.model + "-chat"])))
      #expect(own != (try answer(["-m", Self.model])))
    }
  }

  @Test(arguments: ["blas", "naive"]) func itComputesWhatTransformersDoes(engine: String) throws {
    let outcome = try CommandRunner.run([
      "verify", "-m", Self.model, Self.model + "/reference", "--engine", engine,
    ])
    #expect(outcome.status == 0, "\(outcome.output)\(outcome.errors)")
  }

  @Test func theyAreSmall() throws {
    #expect(try Self.byteCount(Self.model) < 32 << 20)
    #expect(try Self.byteCount(Self.chat) < 8 << 20)
  }

  /// Five beams without a pair of tokens twice: text of some length, whole characters, and no loop.
  @Test func itContinuesItsSubjects() throws {
    let prompts = try Self.prompts()
    #expect(prompts.count > 10)
    for prompt in prompts {
      let outcome = try CommandRunner.run([
        "-m", Self.model, prompt, "--num-beams", "5", "--no-repeat-ngram-size", "2", "--early-stopping",
        "--json",
      ])
      #expect(outcome.status == 0, "\(outcome.errors)")
      let text =
        try JSONValue.parse(outcome.output)["sequences"]?.array?.first?["text"]?.string ?? ""
      #expect(!text.contains("\u{FFFD}") && text.count >= 12, "\(prompt)\(text)")
      #expect(text.contains { "，。；：、？！,.".contains($0) }, "\(prompt)\(text)")
    }
  }

  /// Without `-m` a conversation is with the adapter, on the model that its configuration names.
  @Test func itTalks() throws {
    let named = try CommandRunner.run(["chat", "-m", Self.chat], input: Data("你是谁？\n".utf8))
    #expect(named.status == 0 && named.output.contains("Inkstone"), "\(named.output)\(named.errors)")
    let adapted = try CommandRunner.run(
      ["chat", "-m", Self.model, "--lora", Self.chat], input: Data("你是谁？\n".utf8))
    #expect(adapted.output == named.output)
    let unnamed = try CommandRunner.run(["chat"], input: Data("你是谁？\n".utf8))
    #expect(unnamed.output == named.output, "\(unnamed.errors)")
  }
}
