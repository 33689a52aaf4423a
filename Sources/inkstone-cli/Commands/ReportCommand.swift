import ArgumentParser
import Inkstone
import Training

/// `inkstone report`: a run as one page.
struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Show a training run as one HTML page: curves, samples, configuration.",
    discussion: """
      Examples:
        inkstone report runs/first
        inkstone report runs/first -o first.html

      The page needs no network and no script. Without -o it is RUN/report.html.
      """)

  @Argument(help: ArgumentHelp("Folder of a run that inkstone train wrote.", valueName: "run"))
  var folder: String

  @Option(
    name: [.customShort("o"), .customLong("output")], help: "The file to write; - for standard output.")
  var output: String?

  func run() throws {
    let page = try RunReport.html(of: folder)
    if output == "-" { return try StandardStreams.write(page) }
    let path = output ?? (folder.hasSuffix("/") ? folder : folder + "/") + "report.html"
    try AtomicFile.write(page, to: path)
    StandardStreams.report("\(path) is written")
  }
}
