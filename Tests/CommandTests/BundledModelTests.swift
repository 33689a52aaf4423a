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
