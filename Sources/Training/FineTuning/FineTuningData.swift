import ChatTemplates
import Checkpoints
import Corpora
import JSON
import Tokenizers
import Transformer

/// What a fine-tuning learns from: examples as tokens, and questions that are kept back.
package struct FineTuningData {
  /// What is learned.
  package let training: [TokenExample]
  /// What is validated on.
  package let validation: [TokenExample]
  /// Questions of what is validated on, with their answers.
  package let questions: [HeldOutQuestion]
  /// The tokenizer.
  package let tokenizer: Tokenizer
  /// Files that go beside the weights, by name: tokenizer, chat template, generation settings.
  package let files: [(name: String, contents: [UInt8])]
  /// Tokens that end an answer.
  package let endTokens: [Int]
  /// What a person should know, one line each.
  package let notes: [String]
  private let encoder: ExampleEncoder

  /// The tokens of a question, laid out as the examples are.
  func prompt(_ text: String) throws -> [Int] { try encoder.prompt(text) }

  /// Reads, splits and lays out the data that the settings name.
  ///
  /// - Throws: an error that names the file and the row, or the setting.
  init(_ settings: TrainingSettings, _ description: ModelDescription, model folder: String) throws {
    guard let train = settings.train else {
      throw TrainingError.setting(
        source: "settings", key: "train", reason: "is missing; give JSON Lines with an example on each line")
    }
    guard Tokenizer.exists(in: folder) else {
      throw TrainingError.data(
        path: folder, reason: "holds no tokenizer; examples cannot be read without one")
    }
    let tokenizer = try Tokenizer.load(from: folder)
    self.tokenizer = tokenizer
    let base = folder.hasSuffix("/") ? folder : folder + "/"
    var files = try TrainingData.tokenizerFiles(in: base)
    var template: ChatTemplate?
    if let name = settings.chatTemplate {
      let text = try ChatTemplatePreset.text(name)
      let missing = ChatTemplatePreset.specialTokens(in: text).filter { token in
        (try? tokenizer.encode(token, addSpecialTokens: false).count) != 1
      }
      guard missing.isEmpty else {
        throw TrainingError.setting(
          source: "settings", key: "chat_template",
          reason: "\(name) needs the special tokens \(missing.joined(separator: ", ")), which \(folder)'s "
            + "tokenizer does not have; choose another template, or a model whose vocabulary has them")
      }
      template = try ChatTemplate(text, name: name, specialTokens: tokenizer.specialTokens)
      files.removeAll { $0.name == "chat_template.jinja" }
      files.append(("chat_template.jinja", Array(text.utf8)))
    } else {
      template = try ChatTemplateSet.load(from: folder)?.template(specialTokens: tokenizer.specialTokens)
    }
    let size = description.configuration.vocabularySize
    guard tokenizer.vocabularySize <= size else {
      throw TrainingError.data(
        path: folder,
        reason: "has a tokenizer of \(tokenizer.vocabularySize) tokens, and the model knows \(size)")
    }

    let endToken = tokenizer.endOfSequence ?? description.configuration.endOfSequenceTokens.first
    let encoder = try ExampleEncoder(
      tokenizer: tokenizer, template: template, trainsOnPrompt: settings.trainOnPrompt, endToken: endToken)
    self.encoder = encoder
    let rows = try FineTuningRow.load(train)
    var learned = rows
    var held: [FineTuningRow] = []
    if let valid = settings.valid {
      held = try FineTuningRow.load(valid)
    } else if settings.validationFraction > 0 {
      held = rows.filter { FineTuningData.isHeldOut($0, settings.validationFraction) }
      learned = rows.filter { !FineTuningData.isHeldOut($0, settings.validationFraction) }
    }
    var counts = (cut: 0, lost: 0)
    func encode(_ rows: [FineTuningRow]) throws -> [TokenExample] {
      try rows.flatMap { row in
        try encoder.examples(of: row).compactMap { FineTuningData.fit($0, settings.blockSize + 1, &counts) }
      }
    }
    training = try encode(learned)
    validation = try encode(held)
    guard !training.isEmpty else {
      throw TrainingError.data(
        path: train,
        reason:
          "leaves no example with an answer within block_size = \(settings.blockSize) tokens; raise it, "
          + "or lower validation_fraction")
    }
    var notes: [String] = []
    if counts.cut > 0 {
      notes.append(
        "\(counts.cut) answers are longer than block_size = \(settings.blockSize) allows, and are cut")
    }
    if counts.lost > 0 {
      notes.append(
        "\(counts.lost) examples are left out: their answers begin beyond block_size = \(settings.blockSize) tokens"
      )
    }
    if validation.isEmpty, settings.validationFraction > 0 || settings.valid != nil {
      notes.append("nothing is held out to validate on; there are \(rows.count) examples in all")
    }
    // Asked in the end are some, spread over all.
    let asked = try held.compactMap { try encoder.question(of: $0) }.filter {
      !$0.prompt.isEmpty && $0.prompt.count < description.configuration.contextLength
    }
    questions = FineTuningData.spread(asked, settings.answerRows)

    // Whatever ends an answer must end a generation too.
    var ends: [Int] = []
    func add(_ token: Int?) {
      if let token, !ends.contains(token) { ends.append(token) }
    }
    let settingsPath = base + "generation_config.json"
    var generation = fileExists(settingsPath) ? try JSONDocument.load(settingsPath).object?.members ?? [] : []
    if let value = generation.last(where: { $0.key == "eos_token_id" })?.value {
      for id in (value.array ?? [value]).compactMap(\.int) { add(id) }
    }
    description.configuration.endOfSequenceTokens.forEach { add($0) }
    add(tokenizer.endOfSequence)
    var unended = 0
    for example in training {
      guard let last = example.answers.last, last.upperBound == example.tokens.count else { continue }
      let token = example.tokens[last.upperBound - 1]
      if tokenizer.isSpecial(token) { add(token) } else if !ends.contains(token) { unended += 1 }
    }
    if unended == training.count, !settings.trainOnPrompt {
      notes.append("no answer ends with a special token: the model will not learn where to stop")
    }
    endTokens = ends
    if !generation.contains(where: { $0.key == "bos_token_id" }),
      let token = description.configuration.beginOfSequenceToken
    {
      generation.append(.init(key: "bos_token_id", value: .integer(token)))
    }
    if !generation.contains(where: { $0.key == "pad_token_id" }),
      let token = description.configuration.paddingToken
    {
      generation.append(.init(key: "pad_token_id", value: .integer(token)))
    }
    generation.removeAll { $0.key == "eos_token_id" }
    if !ends.isEmpty {
      generation.append(
        .init(
          key: "eos_token_id", value: ends.count == 1 ? .integer(ends[0]) : .array(ends.map { .integer($0) }))
      )
    }
    files.append(
      (
        "generation_config.json",
        Array((JSONValue.object(JSONObject(generation)).text(.indented) + "\n").utf8)
      ))
    self.files = files
    self.notes = notes
  }

  /// Whether a row is kept back: by what it asks, so that the same question is never on both sides.
  static func isHeldOut(_ row: FineTuningRow, _ fraction: Double) -> Bool {
    let question = Array(row.question.utf8)
    let hash = question.withUnsafeBytes { ContentHash.of($0, seed: 0xF17E) }
    return Double(hash >> 11) * 0x1p-53 < fraction
  }

  /// An example without what follows its last answer, and no longer than a sequence may be.
  private static func fit(
    _ example: TokenExample, _ limit: Int, _ counts: inout (cut: Int, lost: Int)
  ) -> TokenExample? {
    var example = example
    guard let last = example.answers.last else { return nil }
    if last.upperBound > limit {
      example.answers = example.answers.compactMap { range in
        range.lowerBound < limit ? range.lowerBound..<min(range.upperBound, limit) : nil
      }
      if example.targetCount == 0 {
        counts.lost += 1
        return nil
      }
      counts.cut += 1
    }
    guard example.targetCount > 0, let end = example.answers.last?.upperBound else { return nil }
    example.tokens = Array(example.tokens[..<end])
    return example
  }

  private static func spread<Element>(_ elements: [Element], _ count: Int) -> [Element] {
    elements.count <= count ? elements : (0..<count).map { elements[$0 * elements.count / count] }
  }
}
