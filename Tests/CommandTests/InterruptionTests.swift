import Checkpoints
import Foundation
import JSON
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A signal ends a long generation with what there is, and exit status 130.
@Suite struct InterruptionTests {
  /// A model whose context takes the naive engine far longer than the test waits.
  static func writeSlowModel(_ folder: String, vocabulary: Int = 300) throws {
    let (channels, layers, context) = (64, 4, 8192)
    let config: JSONValue = [
      "model_type": "gpt2", "n_embd": .integer(channels), "n_head": 4, "n_layer": .integer(layers),
      "n_positions": .integer(context), "vocab_size": .integer(vocabulary), "eos_token_id": nil,
      "bos_token_id": nil,
    ]
    try Data(config.text().utf8).write(to: URL(filePath: folder + "/config.json"))
    var shapes: [(String, [Int])] = [
      ("wte.weight", [vocabulary, channels]), ("wpe.weight", [context, channels]),
      ("ln_f.weight", [channels]),
      ("ln_f.bias", [channels]),
    ]
    for layer in 0..<layers {
      for (name, shape) in [
        ("ln_1.weight", [channels]), ("ln_1.bias", [channels]),
        ("attn.c_attn.weight", [channels, 3 * channels]),
        ("attn.c_attn.bias", [3 * channels]), ("attn.c_proj.weight", [channels, channels]),
        ("attn.c_proj.bias", [channels]), ("ln_2.weight", [channels]), ("ln_2.bias", [channels]),
        ("mlp.c_fc.weight", [channels, 4 * channels]), ("mlp.c_fc.bias", [4 * channels]),
        ("mlp.c_proj.weight", [4 * channels, channels]), ("mlp.c_proj.bias", [channels]),
      ] { shapes.append(("h.\(layer).\(name)", shape)) }
    }
    try SafetensorsWriter.write(
      to: folder + "/model.safetensors", shapes.map { TensorDeclaration(name: $0.0, type: .f32, shape: $0.1) }
    ) { declaration, append in
      let count = declaration.shape.reduce(1, *)
      let values = (0..<count).map { Float(($0 &* 7919 &+ declaration.name.utf8.count) % 201 - 100) / 400 }
      try values.withUnsafeBytes { try append($0) }
    }
  }

  @Test(arguments: [SIGINT, SIGTERM])
  func printsWhatThereIs(signal: Int32) throws {
    try CommandRunner.withTemporaryFolder { folder in
      try Self.writeSlowModel(folder)
      let process = Process()
      process.executableURL = CommandRunner.executable
      process.arguments = [
        "generate", "-m", folder, "--prompt-ids", "1,2,3", "--max-length", "8192", "--engine", "naive",
        "--json", "-v",
      ]
      let (output, errors) = (Pipe(), Pipe())
      process.standardOutput = output
      process.standardError = errors
      process.standardInput = FileHandle.nullDevice
      try process.run()
      // The first line of -v comes when the model is loaded.
      _ = errors.fileHandleForReading.availableData
      Thread.sleep(forTimeInterval: 0.5)
      kill(process.processIdentifier, signal)
      let text = output.fileHandleForReading.readDataToEndOfFile()
      process.waitUntilExit()
      #expect(process.terminationReason == .exit && process.terminationStatus == 130)
      let document = try text.withUnsafeBytes { try JSONValue.parse($0) }
      let sequence = try #require(document["sequences"]?.array?.first)
      #expect(sequence["finish_reason"] == "interrupted")
      let count = try #require(sequence["token_ids"]?.array?.count)
      #expect(count > 0 && count < 8189)
    }
  }
}
