import ArgumentParser
import Inkstone

/// `inkstone manual`: the help of all commands as man pages, for `make install`.
struct ManualCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "manual",
    abstract: "Write the man pages of all commands.",
    discussion: """
      Examples:
        inkstone manual -o ~/.local/share/man/man1
        man inkstone-generate

      make install runs this. The pages say what --help says.
      """)

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp("The folder to write to.", valueName: "folder"))
  var output: String

  func run() throws {
    let pages = try ManualPages(dump: InkstoneCommand._dumpHelp(), version: inkstoneVersion).pages
    try createFolder(output)
    for page in pages { try AtomicFile.write(page.text, to: "\(output)/\(page.name).1") }
  }
}
