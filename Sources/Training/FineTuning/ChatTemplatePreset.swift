import ChatTemplates
import Checkpoints
import Tokenizers

/// A chat template that a model is given, and the tokens that it needs.
package enum ChatTemplatePreset {
  /// Templates that are known by name.
  package static let names = ["chatml"]

  /// ChatML: each message between `<|im_start|>role` and `<|im_end|>`; what the model says is marked, the end included.
  static let chatML = """
    {%- for message in messages -%}
    {{- '<|im_start|>' + message['role'] + '\\n' -}}
    {%- if message['role'] == 'assistant' -%}
    {%- generation -%}{{- message['content'] + '<|im_end|>' -}}{%- endgeneration -%}
    {{- '\\n' -}}
    {%- else -%}
    {{- message['content'] + '<|im_end|>\\n' -}}
    {%- endif -%}
    {%- endfor -%}
    {%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
    """

  /// The text of a template: one that is known by name, or a file's.
  ///
  /// - Throws: `TrainingError.setting`, `FileError`.
  static func text(_ name: String) throws -> String {
    if name == "chatml" { return chatML }
    guard fileExists(name) else {
      throw TrainingError.setting(
        source: "settings", key: "chat_template",
        reason: "\(name) is no file, and no name of a template; known is \(names.joined(separator: ", "))")
    }
    guard let text = String(validating: try readFile(name, limit: 1 << 24), as: UTF8.self) else {
      throw TrainingError.setting(
        source: "settings", key: "chat_template", reason: "\(name) is not UTF-8 text")
    }
    return text
  }

  /// Words in a template that look like special tokens: `<|word|>`.
  static func specialTokens(in text: String) -> [String] {
    var found: [String] = []
    var rest = text[...]
    while let start = rest.firstRange(of: "<|") {
      rest = rest[start.upperBound...]
      guard let end = rest.firstRange(of: "|>") else { break }
      let word = rest[..<end.lowerBound]
      guard !word.isEmpty, !word.contains(where: { $0.isWhitespace || "<|>'\"{}".contains($0) }) else {
        continue
      }
      let token = "<|\(word)|>"
      if !found.contains(token) { found.append(token) }
      rest = rest[end.upperBound...]
    }
    return found
  }
}
