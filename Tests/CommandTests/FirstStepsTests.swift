import Foundation
import JSON
import Testing
import _TestSupport

/// What a newcomer meets: the program alone, help, completions, man pages, and a model without being asked for one.
@Suite struct FirstStepsTests {
  /// Words of every command, nested ones included, as the parser itself lists them.
  private static let commands: [[String]] = {
    func words(_ command: JSONValue, _ parents: [String]) -> [[String]] {
      (command["subcommands"]?.array ?? []).filter { $0["commandName"] != "help" }.flatMap { child in
        let own = parents + [child["commandName"]!.string!]
        return [own] + words(child, own)
      }
    }
    let dump = try! CommandRunner.run(["--experimental-dump-help"]).output
    return [[]] + words(try! JSONValue.parse(dump)["command"]!, [])
  }()

  @Test func allCommandsAreThere() {
    let names = Set(Self.commands.map { $0.joined(separator: " ") })
    for name in [
      "generate", "chat", "score", "perplexity", "tokenize", "detokenize", "tokenizer train", "data clean",
      "data dedup", "data filter", "data pack", "train", "convert", "inspect", "verify", "eval", "report",
      "bench",
      "doctor", "completion", "manual",
    ] {
      #expect(names.contains(name), "\(name)")
    }
  }

  @Test(arguments: commands, ["-h", "--help"])
  func helpBeginsWithExamples(command: [String], flag: String) throws {
    let outcome = try CommandRunner.run(command + [flag])
    #expect(outcome.status == 0 && outcome.errors.isEmpty)
    let lines = outcome.output.split(separator: "\n")
    #expect(lines.prefix(3).contains { $0 == "Examples:" }, "\(outcome.output.prefix(300))")
    let example = lines.drop { $0 != "Examples:" }.dropFirst().first ?? ""
    #expect(example.hasPrefix("  ") && example.contains("inkstone"), "\(command): \(example)")
  }

  @Test func versionNamesWhatIsInUse() throws {
    let outcome = try CommandRunner.run(["--version"])
    #expect(outcome.status == 0)
    let lines = outcome.output.split(separator: "\n")
    #expect(lines.count == 3)
    #expect(lines[0].hasPrefix("inkstone ") && lines[0].contains("."))
    #expect(lines[1].contains("OpenBLAS") && lines[1].contains("core type"))
    #expect(lines[2].hasPrefix("instruction set: ") && lines[2].count > "instruction set: ".count)
  }

  // MARK: Without a word

  @Test func aloneAtATerminalItSaysWhatToDo() throws {
    try CommandRunner.withTemporaryFolder { folder in
      try install(in: folder, models: ["inkstone-zh", "other"])
      let session = try TerminalSession(
        [], state: folder, executable: URL(filePath: folder + "/bin/inkstone"))
      #expect(session.wait(for: "inkstone-zh"), "\(session.shown)")
      #expect(session.wait(for: "other") && session.wait(for: "Try:"), "\(session.shown)")
      #expect(session.finish() == 0)
      let lines = session.shown.replacing("\r\n", with: "\n").split(separator: "\n")
      #expect(lines.filter { $0.hasPrefix("  inkstone") && !$0.contains("Models") }.count == 3, "\(lines)")
      #expect(lines.count < 16)
    }
  }

  @Test func aloneWithoutATerminalItIsABadCommand() throws {
    let outcome = try CommandRunner.run([], environment: ["INKSTONE_MODEL": CommandRunner.plain])
    #expect(outcome.status == 2 && outcome.errors.contains("no prompt"))
  }

  // MARK: The model

  /// A folder as `make install` leaves it, with models that are tiny.
  private func install(in folder: String, models: [String]) throws {
    let files = FileManager.default
    try files.createDirectory(atPath: folder + "/bin", withIntermediateDirectories: true)
    // A hard link is enough: the program looks where it was started from, links followed.
    do {
      try files.linkItem(atPath: CommandRunner.executable.path, toPath: folder + "/bin/inkstone")
    } catch {
      try files.copyItem(atPath: CommandRunner.executable.path, toPath: folder + "/bin/inkstone")
    }
    for model in models {
      try ChatModelFolder.write(to: "\(folder)/share/inkstone/Models/\(model)", from: CommandRunner.plain)
    }
  }

  @Test func anInstalledModelIsFound() throws {
    try CommandRunner.withTemporaryFolder { folder in
      try install(in: folder, models: ["inkstone-zh", "other"])
      let program = URL(filePath: folder + "/bin/inkstone")
      func inspect(_ flags: [String] = [], environment: [String: String] = [:]) throws
        -> CommandRunner.Outcome
      {
        try CommandRunner.run(["inspect"] + flags, environment: environment, executable: program)
      }
      #expect(try inspect().output.contains("share/inkstone/Models/inkstone-zh"))
      #expect(try inspect(["-m", "other"]).output.contains("share/inkstone/Models/other"))
      #expect(try inspect(environment: ["INKSTONE_MODEL": "other"]).output.contains("Models/other"))
      #expect(try inspect(environment: ["INKSTONE_MODEL": CommandRunner.plain]).output.contains("gpt2-plain"))
      let missing = try inspect(["-m", "nothing"])
      #expect(missing.status == 2 && missing.errors.contains("nothing"))
      // Through a link, as a package manager makes one.
      try FileManager.default.createSymbolicLink(
        atPath: folder + "/ink", withDestinationPath: folder + "/bin/inkstone")
      let linked = try CommandRunner.run(["inspect"], executable: URL(filePath: folder + "/ink"))
      #expect(linked.output.contains("share/inkstone/Models/inkstone-zh"), "\(linked.errors)")
    }
  }

  @Test func aBuildFindsTheModelOfItsPackage() throws {
    try CommandRunner.withTemporaryFolder { folder in
      try install(in: folder + "/.build/triple/release", models: [])
      try Data().write(to: URL(filePath: folder + "/Package.swift"))
      try ChatModelFolder.write(to: folder + "/Models/inkstone-zh", from: CommandRunner.plain)
      // As deep as SwiftPM puts it: .build/TRIPLE/CONFIGURATION/inkstone.
      try FileManager.default.moveItem(
        atPath: folder + "/.build/triple/release/bin/inkstone",
        toPath: folder + "/.build/triple/release/inkstone")
      let outcome = try CommandRunner.run(
        ["inspect"], executable: URL(filePath: folder + "/.build/triple/release/inkstone"))
      #expect(outcome.output.contains(folder + "/Models/inkstone-zh"), "\(outcome.errors)")
    }
  }

  @Test func withoutAnyModelTheErrorSaysWhatToDo() throws {
    try CommandRunner.withTemporaryFolder { folder in
      try install(in: folder, models: [])
      let outcome = try CommandRunner.run(
        ["generate", "--prompt-ids", "1"], executable: URL(filePath: folder + "/bin/inkstone"))
      #expect(outcome.status == 2 && outcome.output.isEmpty)
      for word in ["-m", "INKSTONE_MODEL", "inkstone-zh"] { #expect(outcome.errorLine.contains(word)) }
    }
  }

  // MARK: Completions and man pages

  @Test(arguments: ["bash", "zsh", "fish"])
  func completionsKnowEveryCommand(shell: String) throws {
    let script = try CommandRunner.run(["completion", shell])
    #expect(script.status == 0 && script.errors.isEmpty)
    for command in Self.commands.compactMap(\.last) { #expect(script.output.contains(command), "\(command)") }
    #expect(script.output.contains("no-repeat-ngram-size"))
    guard shell == "bash" else { return }
    try CommandRunner.withTemporaryFolder { folder in
      try Data(script.output.utf8).write(to: URL(filePath: folder + "/inkstone"))
      let check = try shellOutput(
        "bash -n '\(folder)/inkstone' && source '\(folder)/inkstone' && complete -p inkstone")
      #expect(check.contains("complete") && check.contains("inkstone"), "\(check)")
    }
  }

  @Test func aShellThatIsUnknown() throws {
    let outcome = try CommandRunner.run(["completion", "tcsh"])
    #expect(outcome.status == 2 && outcome.errors.contains("tcsh"))
  }

  @Test func everyCommandHasAManPage() throws {
    try CommandRunner.withTemporaryFolder { folder in
      let outcome = try CommandRunner.run(["manual", "-o", folder + "/man1"])
      #expect(outcome.status == 0, "\(outcome.errors)")
      for command in Self.commands {
        let name = (["inkstone"] + command).joined(separator: "-")
        let page = try String(contentsOfFile: "\(folder)/man1/\(name).1", encoding: .utf8)
        for section in [".TH", ".SH NAME", ".SH SYNOPSIS", ".SH EXAMPLES"] {
          #expect(page.contains(section), "\(name): \(section)")
        }
        // A line that begins with a point is a request, and these are all that there are.
        let requests = Set(
          page.split(separator: "\n").filter { $0.hasPrefix(".") }.map { $0.prefix { $0 != " " } })
        #expect(
          requests.isSubset(of: [".TH", ".SH", ".B", ".BR", ".TP", ".nf", ".fi"]), "\(name): \(requests)")
        #expect(page.split(separator: "\n").allSatisfy { !$0.hasPrefix("'") })
      }
      let generate = try String(contentsOfFile: folder + "/man1/inkstone-generate.1", encoding: .utf8)
      #expect(generate.contains("\\fB\\-\\-no\\-repeat\\-ngram\\-size\\fR \\fIn\\fR"))
      #expect(generate.contains("stop $'\\en'"))
      // Where there is a formatter, it has nothing to say against them.
      if try shellOutput("command -v groff || true").contains("groff") {
        let warnings = try shellOutput(
          "for p in '\(folder)'/man1/*.1; do groff -man -Tutf8 -Kutf8 -ww -z $p 2>&1; done")
        #expect(warnings.isEmpty, "\(warnings.prefix(1000))")
      }
    }
  }

  private func shellOutput(_ command: String) throws -> String {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["bash", "-c", command]
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return text
  }
}
