import Foundation

/// A tiny model that one can talk to: a fixture's weights, a tokeniser of single characters and a chat template.
package enum ChatModelFolder {
  /// The template: `<u>` and `<a>` begin the turns of user and model, `<e>` ends them.
  package static let template = """
    {%- for m in messages -%}
    {%- if m.role not in ['system', 'user', 'assistant'] %}{{ raise_exception('no role ' + m.role) }}{% endif -%}
    {%- if m.role == 'system' %}{{ m.content }}{% else %}<{{ m.role[0] }}>{{ m.content }}{% endif %}<e>
    {%- endfor -%}
    {%- if add_generation_prompt %}<a>{% endif -%}
    {%- if shout is defined %}{{ shout }}{% endif -%}
    """

  /// Writes the folder.
  ///
  /// - Parameters:
  ///   - fixture: a GPT-2 with a vocabulary of 101 and the end token 72.
  ///   - template: of `tokenizer_config.json`; `nil` leaves it out.
  package static func write(to folder: String, from fixture: String, template: String? = template) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for name in ["config.json", "generation_config.json", "model.safetensors"] {
      try FileManager.default.createSymbolicLink(
        atPath: folder + "/" + name, withDestinationPath: fixture + "/" + name)
    }
    try writeTokenizer(to: folder, template: template)
  }

  /// Writes tokeniser and template into the folder of a model with a vocabulary of 101.
  package static func writeTokenizer(to folder: String, template: String? = template) throws {
    var tokens = (0x20..<0x7F).map { String(UnicodeScalar(UInt8($0))) } + ["\n", "<u>", "<a>", "?1", "?2"]
    tokens.insert("<e>", at: 72)
    let vocabulary = Dictionary(uniqueKeysWithValues: tokens.enumerated().map { ($1, $0) })
    let special: [[String: Any]] = ["<e>", "<u>", "<a>"].map { content in
      [
        "id": vocabulary[content] ?? 0, "content": content, "single_word": false, "lstrip": false,
        "rstrip": false,
        "normalized": false, "special": true,
      ]
    }
    let tokenizer: [String: Any] = [
      "version": "1.0", "truncation": NSNull(), "padding": NSNull(), "added_tokens": special,
      "normalizer": NSNull(), "post_processor": NSNull(),
      "pre_tokenizer": [
        "type": "Split", "pattern": ["Regex": "[\\s\\S]"], "behavior": "Isolated", "invert": false,
      ],
      "decoder": ["type": "Fuse"],
      "model": ["type": "WordLevel", "vocab": vocabulary, "unk_token": "?1"],
    ]
    func save(_ object: [String: Any], _ name: String) throws {
      try JSONSerialization.data(withJSONObject: object).write(to: URL(filePath: folder + "/" + name))
    }
    try save(tokenizer, "tokenizer.json")
    var configuration: [String: Any] = ["eos_token": "<e>", "tokenizer_class": "PreTrainedTokenizerFast"]
    configuration["chat_template"] = template
    try save(configuration, "tokenizer_config.json")
  }
}
