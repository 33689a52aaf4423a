import Checkpoints
import Foundation
import JSON
import Kernels
import Testing
import _TestSupport

@testable import Corpora

enum CorpusFixtures {
  static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(
      path: "Reference/Corpora"
    ).path
  static let deduplication = try! JSONDocument.load(folder + "/deduplication.json")
  static let text = try! readFile(folder + "/text.txt")
  static let pool = WorkerPool(threadCount: 2)
}

extension DocumentReader {
  /// All documents as text.
  func texts() throws -> [String] {
    var out: [String] = []
    while let batch = try next() {
      for index in batch.documents.indices {
        out.append(batch.withDocument(index) { String(decoding: $0, as: UTF8.self) })
      }
    }
    return out
  }
}

/// A batch of documents that no file holds.
func batch(_ documents: [String]) -> DocumentBatch { batch(documents.map { Array($0.utf8) }) }

func batch(_ documents: [[UInt8]]) -> DocumentBatch {
  var bytes: [UInt8] = []
  var ranges: [Range<Int>] = []
  for document in documents {
    ranges.append(bytes.count..<bytes.count + document.count)
    bytes += document
  }
  return DocumentBatch(
    bytes: bytes, documents: ranges, lines: Array(documents.indices.map { $0 + 1 }), records: [],
    path: "memory")
}
