import Foundation
import Inkstone
import JSON
import Kernels
import Testing
import Transformer

/// What the README says of each family is what the committed models show.
@Suite struct FamilyTableTests {
  /// One row of the table.
  private struct Row {
    var models = 0
    var cases = 0
    var gradients = 0
    var throughGGUF = 0
  }

  private static let readme = URL(filePath: #filePath).deletingLastPathComponent().appending(
    path: "../../README.md"
  ).standardizedFileURL.path

  private static let markers = ("<!-- families: written by FamilyTableTests -->\n", "<!-- end of families -->")

  private static func document(_ path: String) throws -> JSONObject {
    try #require(try JSONDocument.load(path).object)
  }

  /// Families that GGUF files give back as they were, whatever the settings, or all but some.
  private static func table() throws -> String {
    var rows: [String: Row] = [:]
    for name in Fixtures.names {
      let folder = "\(Fixtures.root)/\(name)"
      let type = try #require(try document("\(folder)/config.json")["model_type"]?.string)
      let cases = try #require(try document("\(folder)/reference/reference.json")["cases"]?.array)
      rows[type, default: Row()].models += 1
      rows[type]!.cases += cases.count
      if cases.contains(where: { $0.object?["gradients"] != nil }) { rows[type]!.gradients += 1 }
      if (try? GGUFExport(folder: folder)) != nil { rows[type]!.throughGGUF += 1 }
    }
    var lines = [
      "| `model_type` | small models equal to transformers | cases | of these with all gradients | as GGUF |",
      "|---|---|---|---|---|",
    ]
    for type in ModelDescription.knownModelTypes {
      let row = rows[type] ?? Row()
      let architecture = GGUFModel.architecture(ofModelType: type)
      let gguf = architecture.map { "`\($0)`, \(row.throughGGUF) of \(row.models)" } ?? "—"
      lines.append("| `\(type)` | \(row.models) | \(row.cases) | \(row.gradients) | \(gguf) |")
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// The table is stale when this fails: `INKSTONE_WRITE_README=1 swift test --filter FamilyTableTests` writes it anew.
  @Test func theReadmeListsTheFamilies() throws {
    let text = try String(contentsOfFile: Self.readme, encoding: .utf8)
    let start = try #require(text.range(of: Self.markers.0))
    let end = try #require(text.range(of: Self.markers.1))
    let expected = try Self.table()
    if ProcessInfo.processInfo.environment["INKSTONE_WRITE_README"] != nil {
      try text.replacingCharacters(in: start.upperBound..<end.lowerBound, with: expected)
        .write(toFile: Self.readme, atomically: true, encoding: .utf8)
      return
    }
    #expect(String(text[start.upperBound..<end.lowerBound]) == expected)
  }

  /// A model that can be written as GGUF gives the same numbers when it is read from there.
  @Test(arguments: Fixtures.names)
  func equalsTransformersFromGGUF(name: String) throws {
    let folder = "\(Fixtures.root)/\(name)"
    guard let export = try? GGUFExport(folder: folder) else { return }
    let path = FileManager.default.temporaryDirectory.appending(path: "inkstone-\(UUID().uuidString).gguf").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    try export.write(to: path, as: .f32, name: name, vocabulary: [])

    // The tokens and settings that generation needs are not in question here: they stay those of the folder.
    let settings = try LanguageModel.load(from: folder).generationConfiguration
    let report = try Verifier(
      reference: try Reference.load(from: folder + "/reference"), decoder: try Decoder.load(from: path),
      tokenizer: nil, generationConfiguration: settings, engine: BLASEngine(threadCount: 1)
    ).run()
    #expect(report.passedCount > 0)
    for check in report.checks {
      // Gradients of matrices that GGUF holds in another order go by other names and rows.
      if case .failed(let place) = check.verdict, !check.subject.hasPrefix("gradient") {
        Issue.record("\(name), \(check.caseName), \(check.subject): \(place)")
      }
    }
  }
}
