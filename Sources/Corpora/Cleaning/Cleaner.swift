import Kernels
import Tokenizers

/// Cleans documents, step by step, and keeps account of what each step did.
public final class Cleaner {
  private let steps: [CleaningStep]
  private let pool: WorkerPool

  /// What was done so far; the last step, `empty`, is of documents that nothing was left of.
  public private(set) var report: CorpusReport

  /// - Parameters:
  ///   - steps: which to take; their order is that of `CleaningStep`.
  ///   - sampleLimit: samples per step in the report.
  public init(steps: Set<CleaningStep> = CleaningStep.usual, sampleLimit: Int = 5, pool: WorkerPool) {
    self.steps = CleaningStep.allCases.filter(steps.contains)
    self.pool = pool
    report = CorpusReport(
      command: "clean", steps: self.steps.map(\.rawValue) + ["empty"], removes: false,
      sampleLimit: sampleLimit)
  }

  /// Cleans documents and hands them on in order; those that become empty are left out.
  ///
  /// - Throws: `CorpusError.invalidUTF8` without the step `repair`, and what `write` throws.
  public func clean(_ batch: DocumentBatch, write: ([UInt8], Int) throws -> Void) throws {
    let steps = steps
    // Excerpts are made only for steps that still want samples: most documents of a large corpus need none.
    let wanted = steps.indices.map(report.wantsSample)
    let cleaned = try pool.map(batch.documents.count) { index in
      if steps.first != .repair { try batch.check(index) }
      return batch.withDocument(index) { Cleaner.apply(steps, to: $0, samples: wanted) }
    }
    for (index, result) in cleaned.enumerated() {
      let count = batch.documents[index].count
      report.noteRead(count)
      for change in result.changes {
        report.note(
          change.step, bytes: change.removed,
          sample: CorpusReport.Sample(
            path: batch.path, line: batch.lines[index], text: change.before, note: change.after))
      }
      let text = result.text ?? Array(batch.bytes[batch.documents[index]])
      if text.isEmpty {
        report.note(
          steps.count, bytes: 0,
          sample: CorpusReport.Sample(
            path: batch.path, line: batch.lines[index],
            text: batch.withDocument(index) { CorpusReport.excerpt($0) }, note: ""))
      } else {
        report.noteWritten(text.count)
        try write(text, index)
      }
    }
  }

  private struct Change {
    var step: Int
    var removed: Int
    var before: String
    var after: String
  }

  /// The text after the steps, `nil` when it stayed as it was, and what each step did.
  private static func apply(
    _ steps: [CleaningStep], to text: UnsafeBufferPointer<UInt8>, samples: [Bool]
  ) -> (text: [UInt8]?, changes: [Change]) {
    var current: [UInt8]?
    var changes: [Change] = []
    for (index, step) in steps.enumerated() {
      let before = current
      let after =
        before?.withUnsafeBufferPointer { step.apply(to: $0) } ?? (before == nil ? step.apply(to: text) : nil)
      guard let after else { continue }
      var (old, new) = ("", "")
      if samples[index] { (old, new) = before.map { excerpts($0, after) } ?? excerpts(text, after) }
      changes.append(
        Change(step: index, removed: (before?.count ?? text.count) - after.count, before: old, after: new))
      current = after
    }
    return (current, changes)
  }

  /// The surroundings of the first difference, before and after.
  private static func excerpts(
    _ before: some RandomAccessCollection<UInt8>, _ after: [UInt8]
  ) -> (String, String) {
    var same = 0
    let limit = min(before.count, after.count)
    var index = before.startIndex
    while same < limit, before[index] == after[same] {
      same += 1
      before.formIndex(after: &index)
    }
    // From a little before the difference, at the beginning of a character.
    var start = max(0, same - 40)
    while start > 0, after.indices.contains(start), after[start] & 0xC0 == 0x80 { start -= 1 }
    func part(_ text: some RandomAccessCollection<UInt8>) -> String {
      (start > 0 ? "…" : "") + CorpusReport.excerpt(text.dropFirst(start), limit: 120)
    }
    return (part(before), part(after))
  }
}
