import Foundation
import Testing

/// A command that the README shows, with what it says it prints.
///
/// Commands stand in blocks of the kind `console`, behind `$ `; what they print stands below. A comment before a block
/// says when that cannot be compared: `<!-- output differs -->` for what depends on the machine (the command must still
/// end well), `<!-- not run -->` for what takes long or changes the machine.
struct ReadmeCommand: CustomTestStringConvertible, Sendable {
  enum Check { case equal, runs, none }

  var command: String
  var output: [String]
  let check: Check
  /// Of its block: the lines from the first command to the last line of output, counted from 0.
  let lines: Range<Int>

  var testDescription: String { command }

  /// All commands of a text, block by block.
  static func blocks(of text: String) -> [[ReadmeCommand]] {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    var blocks: [[ReadmeCommand]] = []
    var index = 0
    while index < lines.count {
      guard lines[index] == "```console" else {
        index += 1
        continue
      }
      let before = index > 0 ? lines[index - 1] : ""
      let check: Check =
        before.contains("not run") ? .none : before.contains("output differs") ? .runs : .equal
      let start = index + 1
      index = start
      while index < lines.count, lines[index] != "```" { index += 1 }
      var commands: [ReadmeCommand] = []
      for line in lines[start..<min(index, lines.count)] {
        if line.hasPrefix("$ ") {
          commands.append(
            ReadmeCommand(command: String(line.dropFirst(2)), output: [], check: check, lines: start..<index))
        } else if let last = commands.indices.last {
          // A command goes on behind a backslash.
          if commands[last].output.isEmpty, commands[last].command.hasSuffix("\\") {
            commands[last].command += "\n" + line
          } else {
            commands[last].output.append(line)
          }
        }
      }
      blocks.append(commands)
    }
    return blocks
  }
}

/// What the README shows of the program is what it does: every command runs, in the order of the text, as a newcomer
/// would type it in a clone.
@Suite struct ReadmeCommandTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..")
    .standardizedFileURL.path

  /// `INKSTONE_WRITE_README=1 swift test --filter ReadmeCommandTests` writes the outputs anew.
  @Test(
    .enabled(
      if: FileManager.default.fileExists(atPath: root + "/Models/inkstone-zh/config.json"),
      "the commands use the bundled model"))
  func commandsPrintWhatTheReadmeShows() throws {
    let path = Self.root + "/README.md"
    let text = try String(contentsOfFile: path, encoding: .utf8)
    let blocks = ReadmeCommand.blocks(of: text)
    #expect(blocks.count >= 6)
    let writes = ProcessInfo.processInfo.environment["INKSTONE_WRITE_README"] != nil
    var replacements: [(lines: Range<Int>, text: [String])] = []
    try CommandRunner.withTemporaryFolder { folder in
      let files = FileManager.default
      for name in try files.contentsOfDirectory(atPath: Self.root) where !name.hasPrefix(".") {
        try files.createSymbolicLink(atPath: "\(folder)/\(name)", withDestinationPath: "\(Self.root)/\(name)")
      }
      try files.createDirectory(atPath: folder + "/.bin", withIntermediateDirectories: true)
      try files.createSymbolicLink(
        atPath: folder + "/.bin/inkstone", withDestinationPath: CommandRunner.executable.path)
      for block in blocks {
        var lines: [String] = []
        for entry in block {
          lines += ("$ " + entry.command).split(separator: "\n").map(String.init)
          guard entry.check != .none else {
            lines += entry.output
            continue
          }
          let (status, output) = try run(entry.command, in: folder)
          #expect(status == 0, "\(entry.command): \(output.joined(separator: "\n"))")
          lines += entry.check == .equal ? output : entry.output
          if entry.check == .equal, !writes {
            #expect(
              Self.areEqual(output, entry.output), "\(entry.command):\n\(output.joined(separator: "\n"))")
          }
        }
        if let range = block.first?.lines { replacements.append((range, lines)) }
      }
    }
    guard writes else { return }
    var all = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    for (range, lines) in replacements.reversed() { all.replaceSubrange(range, with: lines) }
    try all.joined(separator: "\n").write(toFile: path, atomically: true, encoding: .utf8)
  }

  /// Texts are the same but for the last digits of numbers, which another CPU may round otherwise.
  static func areEqual(_ left: [String], _ right: [String]) -> Bool {
    guard left.count == right.count else { return false }
    return zip(left, right).allSatisfy { left, right in
      let (left, right) = (parts(left), parts(right))
      guard left.count == right.count else { return false }
      return zip(left, right).allSatisfy { one, other in
        if one == other { return true }
        guard one.contains("."), let one = Double(one), let other = Double(other) else { return false }
        return abs(one - other) <= max(0.005, 0.005 * abs(other))
      }
    }
  }

  /// A line cut into numbers and what is between them.
  private static func parts(_ line: String) -> [String] {
    var parts: [String] = []
    var wasNumber = false
    for character in line {
      let isNumber = character.isASCII && (character.isNumber || character == "." || character == "-")
      if isNumber == wasNumber, !parts.isEmpty {
        parts[parts.count - 1].append(character)
      } else {
        parts.append(String(character))
      }
      wasNumber = isNumber
    }
    return parts
  }

  @Test func equalityAllowsForRoundingAlone() {
    #expect(Self.areEqual(["a 1.2345 b", "x"], ["a 1.2346 b", "x"]))
    #expect(!Self.areEqual(["a 1.23 b"], ["a 1.25 b"]))
    #expect(
      !Self.areEqual(["a 12 b"], ["a 13 b"]) && !Self.areEqual(["a"], ["b"]) && !Self.areEqual(["a"], []))
  }

  private func run(_ command: String, in folder: String) throws -> (Int32, [String]) {
    // The program of this build stands for the one that make would build, and nothing is installed.
    let make = """
      make() { command make -s SWIFT=true PACKAGES= INKSTONE='\(CommandRunner.executable.path)' "$@"; }

      """
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["bash", "-c", make + command]
    process.currentDirectoryURL = URL(filePath: folder)
    var variables = ProcessInfo.processInfo.environment
    variables["PATH"] = "\(folder)/.bin:\(variables["PATH"] ?? "")"
    variables["INKSTONE_MODEL"] = nil
    process.environment = variables
    let output = Pipe()
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    while lines.last?.isEmpty == true { lines.removeLast() }
    return (process.terminationStatus, lines)
  }
}

/// The README's comparison of both engines is what `make bench` wrote.
@Suite struct ReadmeComparisonTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..")
    .standardizedFileURL.path
  private static let closing = "<!-- end of comparison -->"

  /// What was measured and where; the first row of each operation, without the columns that tell how sure it is; the
  /// chart.
  private static func section(_ folder: String) throws -> String {
    let report = try String(contentsOfFile: "\(root)/\(folder)/results.md", encoding: .utf8)
    let lines = report.split(separator: "\n")
    func field(_ name: String) throws -> String {
      let line = try #require(lines.first { $0.hasPrefix(name + " ") }, "\(name)")
      return line.dropFirst(name.count).trimmingCharacters(in: .whitespaces)
    }
    let model = try #require(lines.first?.dropFirst(2).prefix { $0 != ":" })
    let rows = lines.filter { $0.hasPrefix("|") }.map { line in
      line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
    }
    let head = try #require(rows.first)
    let columns = try ["operation", "shape", "naive", "OpenBLAS path", "factor", "of limit"].map { name in
      try #require(head.firstIndex(of: name), "\(name)")
    }
    var seen: Set<String> = []
    var section = [
      "`\(model)`, \(try field("threads")) threads, \(try field("CPU")), \(try field("BLAS").prefix { $0 != "," }):",
      "",
      "| operation | shape | naive | OpenBLAS | factor | of the machine's limit |",
      "|---|---|---:|---:|---:|---:|",
    ]
    // The second row is the line below the head.
    for row in rows.dropFirst(2) where seen.insert(row[0]).inserted {
      section.append("| " + columns.map { row[$0] }.joined(separator: " | ") + " |")
    }
    section += ["", "![Naive Swift against OpenBLAS](\(folder)/results.svg)", ""]
    return section.joined(separator: "\n")
  }

  /// `INKSTONE_WRITE_README=1 swift test --filter ReadmeComparisonTests` writes it anew.
  @Test func theTableIsThatOfTheResults() throws {
    let path = Self.root + "/README.md"
    let text = try String(contentsOfFile: path, encoding: .utf8)
    // The opening marker names the folder of the results.
    let opening = #/<!-- comparison: (?<folder>[^ ]+), written by ReadmeComparisonTests -->\n/#
    let start = try #require(text.firstMatch(of: opening))
    let end = try #require(text.range(of: Self.closing))
    let range = start.range.upperBound..<end.lowerBound
    let expected = try Self.section(String(start.output.folder))
    if ProcessInfo.processInfo.environment["INKSTONE_WRITE_README"] != nil {
      try text.replacingCharacters(in: range, with: expected)
        .write(toFile: path, atomically: true, encoding: .utf8)
      return
    }
    #expect(String(text[range]) == expected)
  }
}

/// What the README shows of the library compiles for a user: as a package that depends on this one by path.
@Suite struct ReadmeTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..")
    .standardizedFileURL.path

  @Test func theLibraryExampleCompiles() throws {
    let readme = try String(contentsOfFile: Self.root + "/README.md", encoding: .utf8)
    let blocks = readme.components(separatedBy: "```swift\n").dropFirst().compactMap {
      $0.components(separatedBy: "\n```").first
    }
    #expect(blocks.count == 1)

    // Beside the other products of the build, so that a second run compiles only what changed.
    let folder = Self.root + "/.build-test/readme-example"
    try FileManager.default.createDirectory(
      atPath: folder + "/Sources/Example", withIntermediateDirectories: true)
    let name = URL(filePath: Self.root).lastPathComponent
    let manifest = """
      // swift-tools-version: 6.1
      import PackageDescription

      let package = Package(
        name: "Example", platforms: [.macOS(.v15)], dependencies: [.package(path: "../..")],
        targets: [
          .executableTarget(
            name: "Example", dependencies: [.product(name: "Inkstone", package: "\(name)")],
            swiftSettings: [.swiftLanguageMode(.v6)])
        ])

      """
    // Written anew each time: only then does the build look for files that came to this package or left it.
    try Data(manifest.utf8).write(to: URL(filePath: folder + "/Package.swift"))
    let example = blocks.joined(separator: "\n") + "\n"
    let path = folder + "/Sources/Example/main.swift"
    // An unchanged file keeps its date, and the build its results.
    if (try? String(contentsOfFile: path, encoding: .utf8)) != example {
      try Data(example.utf8).write(to: URL(filePath: path))
    }

    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["swift", "build", "--package-path", folder]
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    #expect(process.terminationStatus == 0, "\(text.suffix(3000))")
  }
}
