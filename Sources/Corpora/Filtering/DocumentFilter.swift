import Kernels
import Tokenizers

/// Keeps the documents that are good enough to train on, and keeps account of why others are not.
public final class DocumentFilter {
  private let configuration: FilterConfiguration
  private let pool: WorkerPool
  private let forbidden: WordList
  private let required: WordList

  /// The rules by name, in the order in which they are tried; a document counts for the first that it breaks.
  public let rules: [String]
  /// What was done so far.
  public private(set) var report: CorpusReport
  /// Lines that the rules of C4 took out of documents.
  public private(set) var removedLineCount = 0

  private static let languageRule = "language"
  private static let forbiddenRule = "forbidden-words"
  private static let requiredRule = "required-words"
  private static let noLinesRule = "no-lines-left"

  /// - Parameter sampleLimit: samples per rule in the report.
  public init(_ configuration: FilterConfiguration = .init(), sampleLimit: Int = 5, pool: WorkerPool) {
    self.configuration = configuration
    self.pool = pool
    forbidden = WordList(configuration.forbiddenWords)
    required = WordList(configuration.requiredWords)
    var rules: [String] = []
    if configuration.language != nil { rules.append(DocumentFilter.languageRule) }
    if !forbidden.isEmpty { rules.append(DocumentFilter.forbiddenRule) }
    if !required.isEmpty { rules.append(DocumentFilter.requiredRule) }
    let lines: Set<FilterConfiguration.Limit> = [.terminalPunctuation, .scriptLines, .minimumLineWords]
    let limits = FilterConfiguration.Limit.allCases.filter { configuration.value($0) != nil }
    let takesLines = limits.contains(where: lines.contains)
    if takesLines { rules.append(DocumentFilter.noLinesRule) }
    rules += limits.filter { !lines.contains($0) }.map(\.rawValue)
    self.rules = rules
    report = CorpusReport(command: "filter", steps: rules, removes: true, sampleLimit: sampleLimit)
  }

  /// Judges documents and hands on those that are kept, in order.
  ///
  /// - Throws: `CorpusError.invalidUTF8`, and what `write` throws.
  public func filter(_ batch: DocumentBatch, write: ([UInt8], Int) throws -> Void) throws {
    let verdicts = try pool.map(batch.documents.count) { [self] index in
      try batch.check(index)
      return batch.withDocument(index) { judge($0) }
    }
    for (index, verdict) in verdicts.enumerated() {
      let range = batch.documents[index]
      report.noteRead(range.count)
      removedLineCount += verdict.removedLines
      if let (rule, note) = verdict.fault, let step = rules.firstIndex(of: rule) {
        report.note(
          step, bytes: range.count,
          sample: CorpusReport.Sample(
            path: batch.path, line: batch.lines[index],
            text: CorpusReport.excerpt(batch.bytes[range]), note: note))
      } else {
        let text = verdict.text ?? Array(batch.bytes[range])
        report.noteWritten(text.count)
        try write(text, index)
      }
    }
  }

  /// What is to become of a document.
  struct Verdict {
    /// The rule that it breaks, and how.
    var fault: (rule: String, note: String)?
    /// The text without lines that were taken out; `nil` when it stays.
    var text: [UInt8]?
    var removedLines = 0
  }

  /// Judges a text.
  func judge(_ text: UnsafeBufferPointer<UInt8>) -> Verdict {
    var verdict = Verdict()
    if let language = configuration.language {
      let letters = TextWords(text).letters
      if !language.matches(letters, minimum: configuration.minimumLanguageShare) {
        let found = letters.sorted { ($1.value, $0.key.rawValue) < ($0.value, $1.key.rawValue) }.prefix(3)
        let total = max(1, letters.values.reduce(0, +))
        let shares = found.map { "\($0.key.rawValue) \(100 * $0.value / total) %" }.joined(separator: ", ")
        verdict.fault = (
          DocumentFilter.languageRule, "not \(language.name): \(shares.isEmpty ? "no letters" : shares)"
        )
        return verdict
      }
    }
    if let word = forbidden.firstMatch(in: text) {
      verdict.fault = (DocumentFilter.forbiddenRule, "holds \(word)")
      return verdict
    }
    if !required.isEmpty, required.firstMatch(in: text) == nil {
      verdict.fault = (DocumentFilter.requiredRule, "holds none of the words")
      return verdict
    }
    verdict.text = LineRules(configuration).apply(to: text, &verdict.removedLines)
    if let kept = verdict.text, kept.isEmpty {
      verdict.fault = (DocumentFilter.noLinesRule, "\(verdict.removedLines) lines, none of them a sentence")
      return verdict
    }
    if let kept = verdict.text {
      verdict.fault = kept.withUnsafeBufferPointer { fault($0) }
    } else {
      verdict.fault = fault(text)
    }
    return verdict
  }

  /// The first limit that a text breaks.
  private func fault(_ text: UnsafeBufferPointer<UInt8>) -> (rule: String, note: String)? {
    let words = TextWords(text)
    let statistics = TextStatistics(text, words)
    lazy var repetition = Repetition(text, words)
    for limit in FilterConfiguration.Limit.allCases {
      guard let bound = configuration.value(limit),
        let value = statistics.value(limit) ?? DocumentFilter.repetition(limit, { repetition })
      else { continue }
      let isMinimum = limit.rawValue.hasPrefix("min-")
      if isMinimum ? value < bound : value > bound {
        return (limit.rawValue, "\(rounded(value)), the \(isMinimum ? "least" : "most") is \(rounded(bound))")
      }
    }
    if configuration.applies(.placeholderText), statistics.holdsPlaceholder {
      return (FilterConfiguration.Limit.placeholderText.rawValue, "holds lorem ipsum")
    }
    if configuration.applies(.curlyBrackets), text.contains(where: { $0 == 0x7B || $0 == 0x7D }) {
      return (FilterConfiguration.Limit.curlyBrackets.rawValue, "holds a curly bracket")
    }
    return nil
  }

  private static func repetition(
    _ limit: FilterConfiguration.Limit, _ repetition: () -> Repetition
  ) -> Double? {
    switch limit {
    case .maximumTop2Gram: repetition().topShare(2)
    case .maximumTop3Gram: repetition().topShare(3)
    case .maximumTop4Gram: repetition().topShare(4)
    case .maximumDuplicate5Grams: repetition().duplicateShare(5)
    case .maximumDuplicate6Grams: repetition().duplicateShare(6)
    case .maximumDuplicate7Grams: repetition().duplicateShare(7)
    case .maximumDuplicate8Grams: repetition().duplicateShare(8)
    case .maximumDuplicate9Grams: repetition().duplicateShare(9)
    case .maximumDuplicate10Grams: repetition().duplicateShare(10)
    default: nil
    }
  }
}

/// A number for a sentence: three digits behind the point at most.
private func rounded(_ value: Double) -> String {
  if value == value.rounded(), abs(value) < 1e15 { return "\(Int(value))" }
  return "\((value * 1000).rounded() / 1000)"
}
