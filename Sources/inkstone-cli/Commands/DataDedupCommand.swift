import ArgumentParser
import Corpora
import Foundation
import Inkstone

/// `inkstone data dedup`: documents without those that were there before.
struct DataDedupCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dedup",
    abstract: "Remove documents that are the same as an earlier one, or nearly.",
    discussion: """
      Examples:
        inkstone data dedup corpus.txt -o unique.txt
        inkstone data dedup a.jsonl b.jsonl.gz --threshold 0.7 -o unique.jsonl
        inkstone data dedup corpus.txt --method exact -o unique.txt
        inkstone data dedup corpus.txt --clusters clusters.jsonl -o unique.txt

      near: MinHash signatures of character shingles, cut into bands;
      documents that agree in a band are in one cluster, as MinHashLSH of
      datasketch 2 finds them with the same permutations, threshold and seed
      (--scheme legacy: datasketch 1). Of each cluster the first document
      stays. exact: the same bytes.

      Files are read twice; a pipe is copied to TMPDIR first. Memory grows
      with the number of documents, not with their length. A line of
      --clusters is {"cluster": [documents, numbered from 0 as read]}.
      """)

  @OptionGroup var corpus: CorpusOptions
  @OptionGroup var destination: CorpusOutputOptions

  @Option(help: "near or exact.")
  var method: DeduplicationConfiguration.Method = .near

  @Option(help: ArgumentHelp("Jaccard similarity from which documents are the same.", valueName: "0…1"))
  var threshold = 0.8

  @Option(help: ArgumentHelp("Values in a signature.", valueName: "n"))
  var permutations = 128

  @Option(help: ArgumentHelp("Characters in a shingle.", valueName: "n"))
  var shingle = 5

  @Option(name: [.customShort("s"), .long], help: ArgumentHelp("Of the permutations.", valueName: "n"))
  var seed: UInt32 = 1

  @Option(help: "How hashes are permuted: affine32 (datasketch 2) or legacy (datasketch 1).")
  var scheme: MinHash.Scheme = .affine32

  @Option(
    help: ArgumentHelp("Write the clusters of two and more documents as JSON lines.", valueName: "path"))
  var clusters: String?

  func run() throws {
    var configuration = DeduplicationConfiguration()
    configuration.method = method
    configuration.threshold = threshold
    configuration.permutationCount = permutations
    configuration.shingleLength = shingle
    configuration.seed = seed
    configuration.scheme = scheme
    let pool = corpus.makePool()
    let deduplicator = try Deduplicator(configuration, pool: pool)
    let input = try SpooledInput(try corpus.resolvedFiles(), folder: NSTemporaryDirectory())
    let writer = try destination.makeWriter(for: corpus)
    var progress = ProgressLine(quiet: corpus.quiet)
    Interruption.install()

    let first = try corpus.makeReader(pool: pool, files: input.paths)
    while let batch = try first.next() {
      try deduplicator.add(batch)
      progress.show(
        "compared", bytes: first.position, of: first.totalBytes, "\(deduplicator.documentCount) documents")
      try Interruption.check(&progress)
    }
    let found = deduplicator.finish()
    guard deduplicator.documentCount > 0 else { throw CorpusError.empty(paths: try corpus.resolvedFiles()) }
    if let clusters { try write(found, to: clusters) }

    let selector = DuplicateRemover(found, method: method, sampleLimit: destination.samples)
    let second = try corpus.makeReader(pool: pool, files: input.paths)
    while let batch = try second.next() {
      try selector.select(batch) { text, index in
        try writer.write(text, record: batch.records.isEmpty ? nil : batch.records[index])
      }
      progress.show("written", bytes: second.position, of: second.totalBytes)
      try Interruption.check(&progress)
    }
    try selector.finish(banding: deduplicator.banding)
    try writer.finish()
    progress.clear()
    try destination.finish(selector.report, quiet: corpus.quiet, seconds: progress.elapsed)
  }

  private func write(_ found: DuplicateClusters, to path: String) throws {
    try AtomicFile.write(to: path) { file in
      for cluster in found.clusters {
        let line: JSONValue = ["cluster": .array(cluster.map { .integer($0) })]
        try Array((line.text() + "\n").utf8).withUnsafeBytes { try file.append($0) }
      }
    }
  }
}

extension DeduplicationConfiguration.Method: ExpressibleByArgument {}
extension MinHash.Scheme: ExpressibleByArgument {}
