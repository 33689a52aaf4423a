import ChatTemplates
import Checkpoints
import Foundation
import JSON
import Testing

@Suite struct ChatTemplateTests {
  private func withFolder<Result>(_ files: [String: String], _ body: (String) throws -> Result) throws
    -> Result
  {
    let folder = FileManager.default.temporaryDirectory.appending(path: "inkstone-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for (name, text) in files {
      try createFolder(NSString(string: folder + "/" + name).deletingLastPathComponent)
      try AtomicFile.write(text, to: folder + "/" + name)
    }
    return try body(folder)
  }

  @Test func aFolderMayHoldItsTemplatesInSeveralPlaces() throws {
    let configuration = #"{"chat_template": "config {{ messages[0].content }}"}"#
    try withFolder(["tokenizer_config.json": configuration]) { folder in
      let set = try #require(try ChatTemplateSet.load(from: folder))
      #expect(set.names == ["default"])
      #expect(try set.template().render([.user("x")]) == "config x")
    }
    try withFolder(["tokenizer_config.json": configuration, "chat_template.jinja": "file"]) { folder in
      let set = try #require(try ChatTemplateSet.load(from: folder))
      #expect(try set.template().render([.user("x")]) == "file")
    }
    let files = [
      "chat_template.jinja": "default",
      "additional_chat_templates/tool_use.jinja": "{{ tools | length }} tools",
      "additional_chat_templates/rag.jinja": "{{ documents[0].text }}",
      "additional_chat_templates/notes.txt": "no",
    ]
    try withFolder(files) { folder in
      let set = try #require(try ChatTemplateSet.load(from: folder))
      #expect(set.names == ["default", "rag", "tool_use"])
      var options = ChatTemplate.Options()
      options.tools = [["name": "f"]]
      #expect(try set.template(hasTools: true).render([.user("x")], options) == "1 tools")
      #expect(try set.template().render([.user("x")]) == "default")
      options.documents = [["text": "d"]]
      #expect(try set.template(named: "rag").render([.user("x")], options) == "d")
      #expect(throws: ChatTemplateError.unknownName(name: "q", names: set.names)) {
        try set.template(named: "q")
      }
    }
    let list =
      #"{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "rag", "template": "r"}]}"#
    try withFolder(["tokenizer_config.json": list]) { folder in
      let set = try #require(try ChatTemplateSet.load(from: folder))
      #expect(try set.template(hasTools: true).render([.user("x")]) == "t")
      #expect(throws: ChatTemplateError.noDefault(names: ["rag", "tool_use"])) { try set.template() }
    }
    for files in [["tokenizer_config.json": "{}"], ["config.json": "{}"]] {
      let set = try withFolder(files) { try ChatTemplateSet.load(from: $0) }
      #expect(set == nil)
    }
    for bad in ["5", "[5]", #"[{"name": "x"}]"#, #"{"a": 5}"#] {
      try withFolder(["tokenizer_config.json": "{\"chat_template\": \(bad)}"]) { folder in
        _ = #expect(throws: ChatTemplateError.self, "\(bad)") { try ChatTemplateSet.load(from: folder) }
      }
    }
  }

  @Test func theModelsOwnTextIsMarked() throws {
    let source = """
      {%- for m in messages %}<{{ m.role }}>
      {%- if m.role == 'assistant' %}{% generation %}{{ m.content }}|{% endgeneration %}{% else %}{{ m.content }}{% endif %}
      {%- endfor %}
      """
    let messages: [ChatMessage] = [.user("你好"), .assistant("é!"), .user("b"), .assistant("")]
    let (text, generated) = try ChatTemplate(source).rendering(messages)
    #expect(text == "<user>你好<assistant>é!|<user>b<assistant>|")
    let bytes = Array(text.utf8)
    #expect(generated.map { String(decoding: bytes[$0], as: UTF8.self) } == ["é!|", "|"])
  }

  @Test func variablesGoOverSpecialTokens() throws {
    let template = try ChatTemplate("{{ bos_token }}{{ x }}", specialTokens: ["bos_token": "<s>"])
    var options = ChatTemplate.Options()
    #expect(try template.render([.user("")], options) == "<s>")
    options.variables = ["bos_token": "B", "x": 1]
    #expect(try template.render([.user("")], options) == "B1")
    #expect(throws: ChatTemplateError.emptyConversation) { try template.render([]) }
  }

  @Test func messagesAreReadFromDocuments() throws {
    let messages = try ChatMessage.list(from: [["role": "user", "content": "a", "name": "n"]], source: "f")
    #expect(messages[0].role == "user" && messages[0].content == "a" && messages[0].fields["name"] == "n")
    #expect(try ChatMessage.list(from: ["messages": [["role": "user"]]], source: "f").count == 1)
    let parts: JSONValue = [
      ["role": "user", "content": [["type": "text", "text": "a"], ["type": "image"], ["text": "b"]]]
    ]
    #expect(try ChatMessage.list(from: parts, source: "f")[0].content == "ab")
    for bad: JSONValue in [5, ["a": 1], [5], [["content": "x"]], [["role": 5]]] {
      #expect(throws: ChatTemplateError.self) { try ChatMessage.list(from: bad, source: "f") }
    }
  }
}
