import ChatTemplates
import Checkpoints
import Foundation
import JSON
import Testing

/// What transformers and jinja2 made of templates, and the moment they took for now.
enum Fixtures {
  static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../Reference/ChatTemplates").standardizedFileURL.path

  static func load(_ name: String) throws -> JSONValue { try JSONDocument.load(folder + "/" + name) }

  /// The clock of the fixtures: a local time, wherever the test runs.
  static let clock: TemplateClock = {
    var fields = tm()
    (fields.tm_year, fields.tm_mon, fields.tm_mday) = (2024 - 1900, 6, 26)
    (fields.tm_hour, fields.tm_min, fields.tm_sec, fields.tm_isdst) = (9, 5, 3, -1)
    let seconds = mktime(&fields)
    return TemplateClock { (seconds, 42) }
  }()

  /// What a rendering gives: the text, or the kind and words of an error.
  struct Outcome: Equatable, CustomStringConvertible {
    let error: String?
    let text: String

    var description: String { "\(error ?? "ok"): \(text.debugDescription)" }

    init(_ expected: JSONValue) {
      error = expected["error"]?.string
      text = expected["expected"]?.string ?? ""
    }

    init(_ render: () throws -> String) {
      do {
        text = try render()
        error = nil
      } catch let fault as TemplateError {
        error = "\(fault.kind)"
        text = fault.message
      } catch {
        self.error = "other"
        text = "\(error)"
      }
    }

    /// Whether a result is as wanted.
    ///
    /// Compared are: the text always, the words of an error where templates choose them or a person
    /// looks for what is missing. Python words its other errors as it likes.
    static func matches(_ got: Outcome, _ wanted: Outcome) -> Bool {
      if wanted.error == nil || wanted.error == "raised" || wanted.error == "undefined" {
        return got == wanted
      }
      return got.error != nil
    }
  }

  /// Lays a case's conversation out.
  static func apply(_ source: String, _ item: JSONValue) -> Outcome {
    Outcome {
      var options = ChatTemplate.Options()
      options.clock = clock
      options.tools = item["tools"]?.array
      options.documents = item["documents"]?.array
      options.addsGenerationPrompt = item["add_generation_prompt"]?.bool ?? false
      options.continuesFinalMessage = item["continue_final_message"]?.bool ?? false
      options.variables = item["variables"]?.object ?? JSONObject()
      var special: [String: String] = [:]
      for member in item["special_tokens"]?.object?.members ?? [] {
        special[member.key] = member.value.string
      }
      let messages = (item["messages"]?.array ?? []).map { ChatMessage($0.object ?? JSONObject()) }
      return try ChatTemplate(source, name: "template", specialTokens: special).render(messages, options)
    }
  }
}
