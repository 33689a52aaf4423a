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
  }

  private static let readme = URL(filePath: #filePath).deletingLastPathComponent().appending(
    path: "../../README.md"
  ).standardizedFileURL.path

  private static let markers = (
    "<!-- families: written by FamilyTableTests -->\n", "<!-- end of families -->"
  )

  private static func document(_ path: String) throws -> JSONObject {
    try #require(try JSONDocument.load(path).object)
  }

  private static func table() throws -> String {
    var rows: [String: Row] = [:]
    for name in Fixtures.names {
      let folder = "\(Fixtures.root)/\(name)"
      let type = try #require(try document("\(folder)/config.json")["model_type"]?.string)
      let cases = try #require(try document("\(folder)/reference/reference.json")["cases"]?.array)
      rows[type, default: Row()].models += 1
      rows[type]!.cases += cases.count
      // Gradients of mixtures of experts are in the references and are not computed.
      let isDense = try ModelDescription.load(from: folder).configuration.experts == nil
      if isDense, cases.contains(where: { $0.object?["gradients"] != nil }) { rows[type]!.gradients += 1 }
    }
    var lines = [
      "| loads (`model_type`) | verified: small models equal to transformers | cases | with all gradients | GGUF |",
      "|---|---|---|---|---|",
    ]
    for type in ModelDescription.knownModelTypes {
      let row = rows[type] ?? Row()
      let gguf = ModelDescription.ggufArchitecture(ofModelType: type).map { "`\($0)`" } ?? "—"
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
}
