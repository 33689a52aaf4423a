import ChatTemplates
import Foundation
import JSON
import Testing

/// Templates render as jinja2 renders them in transformers' environment, errors included.
@Suite struct ReferenceTests {
  @Test func featuresRenderAsJinja2RendersThem() throws {
    let document = try Fixtures.load("features.json")
    let variables = try #require(document["variables"]?.object)
    let cases = try #require(document["cases"]?.array)
    #expect(cases.count > 500)
    for item in cases {
      let source = try #require(item["template"]?.string)
      let got = Fixtures.Outcome { try JinjaTemplate(source).render(variables, clock: Fixtures.clock) }
      // Integers of any size are left out, and say so.
      if got.error == "limit", item["expected"]?.string?.count ?? 0 > 18 { continue }
      let wanted = Fixtures.Outcome(item)
      #expect(
        Fixtures.Outcome.matches(got, wanted), "\(source.debugDescription)\nwanted \(wanted)\ngot    \(got)")
    }
  }

  @Test func conversationsAreLaidOutAsTransformersLaysThemOut() throws {
    let document = try Fixtures.load("conversations.json")
    var sources: [String: String] = [:]
    var count = 0
    for item in try #require(document["cases"]?.array) {
      for result in try #require(item["results"]?.object).members {
        let path = Fixtures.folder + "/templates/\(result.key).jinja"
        let source = try sources[result.key] ?? String(contentsOfFile: path, encoding: .utf8)
        sources[result.key] = source
        let (got, wanted) = (Fixtures.apply(source, item), Fixtures.Outcome(result.value))
        #expect(
          Fixtures.Outcome.matches(got, wanted),
          "\(result.key) \(item["messages"] ?? .null)\n\(wanted)\n\(got)")
        count += 1
      }
    }
    #expect(count == 120 && sources.count == 3)
  }

  /// As many more as one likes: `Tests/Reference/ChatTemplates/sweep.py` makes them.
  @Test(.enabled(if: ProcessInfo.processInfo.environment["INKSTONE_TEMPLATE_CASES"] != nil))
  func casesOfASweepRenderTheSame() throws {
    let path = try #require(ProcessInfo.processInfo.environment["INKSTONE_TEMPLATE_CASES"])
    let document = try JSONValue.parse(String(contentsOfFile: path, encoding: .utf8))
    let templates = try #require(document["templates"])
    for item in try #require(document["cases"]?.array) {
      let source = try #require(templates[item["template"]?.string ?? ""]?.string)
      let got =
        item["messages"] == nil
        ? Fixtures.Outcome {
          try JinjaTemplate(source).render(item["variables"]?.object ?? JSONObject(), clock: Fixtures.clock)
        } : Fixtures.apply(source, item)
      let wanted = Fixtures.Outcome(item)
      if got.error == "limit" || got.error == "unsupported" { continue }
      #expect(
        Fixtures.Outcome.matches(got, wanted),
        "\(item["name"] ?? .null) \(source.prefix(2000))\n\(wanted)\n\(got)")
    }
  }
}
