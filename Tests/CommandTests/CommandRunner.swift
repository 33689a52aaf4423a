import Foundation
import Testing

/// Runs the program as a user's shell would.
enum CommandRunner {
  struct Outcome {
    let status: Int32
    let output: String
    let errors: String
    let signaled: Bool

    /// What was written on standard error, as the one line that an error is allowed.
    var errorLine: String { errors.trimmingCharacters(in: .newlines) }
  }

  static let fixtures = URL(filePath: #filePath).deletingLastPathComponent().appending(
    path: "../Reference/Fixtures"
  )
  .standardizedFileURL.path
  static let plain = fixtures + "/gpt2-plain"

  /// The executable lies beside the bundle of tests.
  static let executable: URL = {
    let bundle = URL(filePath: CommandLine.arguments[0]).standardizedFileURL
    var folder = bundle.deletingLastPathComponent()
    for _ in 0..<4 {
      let candidate = folder.appending(path: "inkstone")
      if FileManager.default.isExecutableFile(atPath: candidate.path) { return candidate }
      folder = folder.deletingLastPathComponent()
    }
    return bundle
  }()

  static func run(
    _ arguments: [String], input: Data? = nil, environment: [String: String] = [:], output: FileHandle? = nil,
    executable: URL = executable
  ) throws -> Outcome {
    let process = Process()
    process.executableURL = executable
    process.arguments = arguments
    var variables = ProcessInfo.processInfo.environment
    variables["INKSTONE_MODEL"] = nil
    for (name, value) in environment { variables[name] = value }
    process.environment = variables
    let (outputPipe, errorPipe) = (Pipe(), Pipe())
    process.standardOutput = output ?? outputPipe
    process.standardError = errorPipe
    if let input {
      let file = FileManager.default.temporaryDirectory.appending(path: "inkstone-input-\(UUID().uuidString)")
      try input.write(to: file)
      process.standardInput = try FileHandle(forReadingFrom: file)
      defer { try? FileManager.default.removeItem(at: file) }
      return try finish(process, outputPipe, errorPipe, readsOutput: output == nil)
    }
    process.standardInput = FileHandle.nullDevice
    return try finish(process, outputPipe, errorPipe, readsOutput: output == nil)
  }

  private static func finish(
    _ process: Process, _ output: Pipe, _ errors: Pipe, readsOutput: Bool
  ) throws -> Outcome {
    try process.run()
    let text = readsOutput ? output.fileHandleForReading.readDataToEndOfFile() : Data()
    let message = errors.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return Outcome(
      status: process.terminationStatus, output: String(decoding: text, as: UTF8.self),
      errors: String(decoding: message, as: UTF8.self), signaled: process.terminationReason == .uncaughtSignal
    )
  }

  /// A folder of its own that goes away again.
  static func withTemporaryFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appending(path: "inkstone-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try body(folder.path)
  }
}
