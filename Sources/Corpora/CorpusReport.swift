import JSON

/// What a step over a corpus did, with samples.
public struct CorpusReport: Sendable {
  /// A document that a step changed or removed.
  public struct Sample: Sendable {
    /// The file and the line where the document begins.
    public var path: String
    /// From 1.
    public var line: Int
    /// The beginning of the text.
    public var text: String
    /// What became of it, or what it was like.
    public var note: String
  }

  /// One step or rule.
  public struct Step: Sendable {
    /// Its name, as the command line has it.
    public let name: String
    /// Documents that it changed or removed.
    public var documents = 0
    /// Bytes that it took away, less those it added.
    public var bytes = 0
    /// The first documents of these.
    public var samples: [Sample] = []
  }

  /// What was run: `clean`, `dedup`, `filter`.
  public let command: String
  /// Whether steps remove documents, or change them.
  public let removes: Bool
  /// The steps in order.
  public private(set) var steps: [Step]
  /// Documents and bytes that came in.
  public private(set) var read = Amount()
  /// Documents and bytes that went out.
  public private(set) var written = Amount()
  /// Facts of the run beside the steps.
  public var details = JSONObject()

  /// Documents and their bytes.
  public struct Amount: Sendable, Equatable {
    /// Documents.
    public var documents = 0
    /// UTF-8 bytes of text.
    public var bytes = 0
  }

  private let sampleLimit: Int

  init(command: String, steps: [String], removes: Bool, sampleLimit: Int) {
    self.command = command
    self.removes = removes
    self.steps = steps.map { Step(name: $0) }
    self.sampleLimit = sampleLimit
  }

  mutating func noteRead(_ bytes: Int) {
    read.documents += 1
    read.bytes += bytes
  }

  mutating func noteWritten(_ bytes: Int) {
    written.documents += 1
    written.bytes += bytes
  }

  /// Whether a step has room for another sample.
  func wantsSample(_ step: Int) -> Bool { steps[step].samples.count < sampleLimit }

  mutating func note(_ step: Int, bytes: Int, sample: @autoclosure () -> Sample) {
    steps[step].documents += 1
    steps[step].bytes += bytes
    if wantsSample(step) { steps[step].samples.append(sample()) }
  }

  /// The beginning of a text, for a sample.
  static func excerpt(_ text: some Collection<UInt8>, limit: Int = 160) -> String {
    let head = String(decoding: text.prefix(4 * limit), as: UTF8.self)
    guard head.unicodeScalars.count > limit || text.count > 4 * limit else { return head }
    var out = String.UnicodeScalarView()
    out.append(contentsOf: head.unicodeScalars.prefix(limit))
    return String(out) + "…"
  }

  /// The report as one object.
  ///
  /// Keys: `command`, `read` and `written` (`documents`, `bytes`), `steps` (`name`, `documents`, `bytes`,
  /// `samples` of `file`, `line`, `text`, `note`), and the run's own facts.
  public var document: JSONValue {
    func amount(_ amount: Amount) -> JSONValue {
      ["documents": .integer(amount.documents), "bytes": .integer(amount.bytes)]
    }
    let steps = steps.map { step -> JSONValue in
      [
        "name": .string(step.name),
        (removes ? "documents_removed" : "documents_changed"): .integer(step.documents),
        "bytes_removed": .integer(step.bytes),
        "samples": .array(
          step.samples.map { sample in
            [
              "file": .string(sample.path), "line": .integer(sample.line), "text": .string(sample.text),
              "note": .string(sample.note),
            ]
          }),
      ]
    }
    var members: [JSONObject.Member] = [
      .init(key: "command", value: .string(command)), .init(key: "read", value: amount(read)),
      .init(key: "written", value: amount(written)), .init(key: "steps", value: .array(steps)),
    ]
    members += details.members
    return .object(JSONObject(members))
  }

  /// The report as a table for people.
  public var table: String {
    var rows = [["", "documents", "bytes"]]
    rows.append(["read", "\(read.documents)", "\(read.bytes)"])
    for step in steps {
      rows.append([
        (removes ? "  removed by " : step.name == "empty" ? "  left out as " : "  changed by ") + step.name,
        "\(step.documents)",
        step.bytes == 0 ? "0" : "\(-step.bytes)",
      ])
    }
    rows.append(["written", "\(written.documents)", "\(written.bytes)"])
    let widths = (0..<3).map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      let cells = (0..<3).map { column in
        let space = String(repeating: " ", count: widths[column] - row[column].count)
        return column == 0 ? row[column] + space : space + row[column]
      }
      return cells.joined(separator: "  ")
    }.joined(separator: "\n") + "\n"
  }
}
