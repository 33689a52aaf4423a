import JSON

/// Goes through documents a second time and leaves out the duplicates that were found.
public final class DuplicateRemover {
  private let clusters: DuplicateClusters
  private let sampleLimit: Int
  private var next = 0
  /// The beginnings of first documents whose duplicates are to be shown.
  private var excerpts: [UInt32: String] = [:]

  /// What was done so far.
  public private(set) var report: CorpusReport

  /// - Parameters:
  ///   - clusters: of the same documents in the same order.
  ///   - sampleLimit: duplicates shown in the report.
  public init(_ clusters: DuplicateClusters, method: DeduplicationConfiguration.Method, sampleLimit: Int) {
    self.clusters = clusters
    self.sampleLimit = sampleLimit
    report = CorpusReport(
      command: "dedup", steps: [method.rawValue], removes: true, sampleLimit: sampleLimit)
    var shown = 0
    for (document, first) in clusters.representatives.enumerated() where document != Int(first) {
      guard shown < sampleLimit else { break }
      excerpts[first] = ""
      shown += 1
    }
  }

  /// Hands on the documents that stay, in order.
  ///
  /// - Throws: `PackError.changed` when there are more documents than the first time, and what `write` throws.
  public func select(_ batch: DocumentBatch, write: ([UInt8], Int) throws -> Void) throws {
    for (index, range) in batch.documents.enumerated() {
      guard next < clusters.representatives.count else { throw PackError.changed }
      report.noteRead(range.count)
      let first = clusters.representatives[next]
      let text = batch.bytes[range]
      if clusters.keeps(next) {
        if excerpts[first] != nil {
          excerpts[first] =
            CorpusReport.excerpt(text, limit: 120) + " (\(batch.path), line \(batch.lines[index]))"
        }
        report.noteWritten(range.count)
        try write(Array(text), index)
      } else {
        report.note(
          0, bytes: range.count,
          sample: CorpusReport.Sample(
            path: batch.path, line: batch.lines[index], text: CorpusReport.excerpt(text),
            note: "as " + (excerpts[first] ?? "document \(first)")))
      }
      next += 1
    }
  }

  /// Checks that all documents came again, and completes the report.
  ///
  /// - Throws: `PackError.changed`.
  public func finish(banding: Banding?) throws {
    guard next == clusters.representatives.count else { throw PackError.changed }
    report.details.members += [
      .init(key: "clusters", value: .integer(clusters.clusters.count)),
      .init(key: "exact_duplicates", value: .integer(clusters.exactCount)),
    ]
    if let banding {
      report.details.members += [
        .init(key: "bands", value: .integer(banding.bandCount)),
        .init(key: "rows", value: .integer(banding.rowCount)),
      ]
    }
  }
}
