import Foundation
import JSON

@testable import Generation

/// Results of transformers, made by Tests/Reference/Generation/generate.py.
struct Fixture {
  let cases: [JSONValue]

  init(_ name: String) throws {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("../Reference/Generation").standardizedFileURL
    let text = try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)
    cases = try JSONValue.parse(text)["cases"]?.array ?? []
  }
}

extension JSONValue {
  var ints: [Int] { array?.compactMap(\.int) ?? [] }

  /// Little-endian fp32 in base 64.
  var floats: [Float] {
    guard let string, let data = Data(base64Encoded: string) else { return [] }
    return stride(from: 0, to: data.count, by: 4).map { start in
      Float(bitPattern: data[start..<start + 4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
    }
  }
}

extension TableSession {
  /// The model of a fixture's case.
  convenience init(_ fixture: JSONValue) throws {
    guard let seed = fixture["seed"]?.int, let vocabularySize = fixture["vocabulary"]?.int,
      let scale = fixture["scale"]?.double
    else { throw GenerationError.contradiction("a fixture without a model") }
    self.init(seed: UInt64(seed), vocabularySize: vocabularySize, scale: Float(scale))
  }

  /// Generates with a configuration.
  func run(
    _ prompt: [Int], _ configuration: GenerationConfiguration,
    stopDecoder: (any StreamingTextDecoder)? = nil, interruption: InterruptionFlag? = nil,
    onToken: ((Int, Int, Float) -> Void)? = nil, allowedTokens: (([Int]) -> [Int])? = nil
  ) throws -> GenerationResult {
    try generate(
      prompt: prompt, plan: plan(prompt, configuration), session: self, stopDecoder: stopDecoder,
      interruption: interruption, onToken: onToken, allowedTokens: allowedTokens)
  }

  func plan(_ prompt: [Int], _ configuration: GenerationConfiguration) throws -> DecodingPlan {
    try configuration.plan(
      promptLength: prompt.count, contextLength: contextLength, vocabularySize: vocabularySize)
  }
}

extension GenerationConfiguration {
  /// A configuration from a fixture, or from literals in a test.
  init(_ json: JSONValue) throws {
    try self.init(json: json, source: "test")
  }
}
