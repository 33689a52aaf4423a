import JSON
import Kernels
import Testing
import _TestSupport

@testable import Corpora

@Suite("Duplicates as datasketch finds them")
struct DeduplicationTests {
  private let document = CorpusFixtures.deduplication

  private var documents: [String] { document["documents"]!.array!.map { $0.string! } }

  @Test("numpy's generator")
  func generator() {
    var random = MersenneTwister(seed: 5489)
    let draws = (0..<700).map { _ in random.next32() }
    #expect(draws.suffix(6).map { Int($0) } == document["draws"]!.array!.map { $0.int! })
    // The standard's test: the ten thousandth number of this seed.
    for _ in 700..<9999 { _ = random.next32() }
    #expect(random.next32() == 4_123_659_995)
  }

  @Test("SHA-1 of messages of one block and more")
  func hash() {
    // The first four bytes of the digests of "", "abc", and 55, 56, 63, 64 and 200 times "a".
    let expected: [(String, UInt32)] = [
      ("", 0xEEA3_39DA), ("abc", 0x363E_99A9), (String(repeating: "a", count: 55), 0xDCBB_C8C1),
      (String(repeating: "a", count: 56), 0x0F33_DBC2), (String(repeating: "a", count: 63), 0x5B9F_F003),
      (String(repeating: "a", count: 64), 0x82BA_9800), (String(repeating: "a", count: 200), 0xFEFF_1CE6),
    ]
    for (text, value) in expected {
      #expect(
        Array(text.utf8).withUnsafeBufferPointer { bytes in
          withUnsafePointer(to: UInt8(0)) { SHA1.hash32(bytes.baseAddress ?? $0, bytes.count) }
        } == value, "\(text.count)")
    }
  }

  @Test("Bands and rows for every threshold and number of permutations")
  func bands() {
    for row in document["bands"]!.array! {
      let row = row.array!
      let banding = Banding(threshold: row[0].double!, permutationCount: row[1].int!)
      #expect([banding.bandCount, banding.rowCount] == [row[2].int!, row[3].int!], "\(row)")
    }
  }

  @Test("Signatures and clusters", arguments: 0..<5)
  func clusters(index: Int) throws {
    let expected = document["cases"]!.array![index]
    var configuration = DeduplicationConfiguration()
    configuration.threshold = expected["threshold"]!.double!
    configuration.shingleLength = expected["shingle"]!.int!
    configuration.permutationCount = expected["permutations"]!.int!
    configuration.seed = UInt32(expected["seed"]!.int!)
    configuration.scheme = MinHash.Scheme(rawValue: expected["scheme"]!.string!)!
    let minHash = MinHash(
      permutationCount: configuration.permutationCount, seed: configuration.seed,
      shingleLength: configuration.shingleLength, scheme: configuration.scheme)
    for (number, signature) in expected["signatures"]!.array!.enumerated() {
      let found = Array(documents[number].utf8).withUnsafeBufferPointer { minHash.signature(of: $0) }
      #expect(found.map { Int($0) } == signature.array!.map { $0.int! })
    }
    for threads in [1, 3] {
      let deduplicator = try Deduplicator(configuration, pool: WorkerPool(threadCount: threads))
      // In two batches: clusters reach over their border.
      try deduplicator.add(batch(Array(documents[..<50])))
      try deduplicator.add(batch(Array(documents[50...])))
      let found = deduplicator.finish()
      #expect(found.clusters == expected["clusters"]!.array!.map { $0.array!.map { $0.int! } })
      #expect(found.duplicateCount == found.clusters.reduce(0) { $0 + $1.count - 1 })
    }
  }

  @Test("Exact duplicates only, and what is left out of the text")
  func exact() throws {
    var configuration = DeduplicationConfiguration()
    configuration.method = .exact
    let deduplicator = try Deduplicator(configuration, pool: CorpusFixtures.pool)
    let documents = batch(["a", "b", "a", "a ", "b", "c"])
    try deduplicator.add(documents)
    let found = deduplicator.finish()
    #expect(found.representatives == [0, 1, 0, 3, 1, 5])
    #expect(found.exactCount == 2 && deduplicator.banding == nil)
    let remover = DuplicateRemover(found, method: .exact, sampleLimit: 1)
    var kept: [Int] = []
    try remover.select(documents) { kept.append($1) }
    try remover.finish(banding: nil)
    #expect(kept == [0, 1, 3, 5])
    #expect(remover.report.read.documents == 6 && remover.report.written.documents == 4)
    #expect(remover.report.steps[0].documents == 2 && remover.report.steps[0].samples.count == 1)
    #expect(remover.report.steps[0].samples[0].note == "as a (memory, line 1)")
    #expect(throws: PackError.changed) { try remover.select(documents) { _, _ in } }
  }

  @Test("Sets are joined under their smallest member, whatever the order")
  func sets() {
    var random = SeededGenerator(seed: 4)
    for _ in 0..<50 {
      var sets = DisjointSets()
      var labels = (0..<40).map { _ in sets.add() }
      for _ in 0..<Int.random(in: 0...50, using: &random) {
        let (x, y) = (Int.random(in: 0..<40, using: &random), Int.random(in: 0..<40, using: &random))
        sets.join(UInt32(x), UInt32(y))
        let (a, b) = (labels[x], labels[y])
        for index in labels.indices where labels[index] == a || labels[index] == b {
          labels[index] = min(a, b)
        }
      }
      #expect(sets.smallestMembers().map(Int.init) == labels)
    }
  }

  @Test("The index finds keys again as it grows")
  func index() {
    var index = HashIndex()
    var random = SeededGenerator(seed: 8)
    // Few homes, so that they collide.
    let keys = (0..<5000).map { HashIndex.Key(upper: UInt64($0), lower: random.next() % 64) }
    for (number, key) in keys.enumerated() { #expect(index.insert(key, UInt32(number)) == nil) }
    for (number, key) in keys.enumerated() { #expect(index.insert(key, 9999) == UInt32(number)) }
  }

  @Test("Settings that make no sense, and text that is none")
  func faults() throws {
    func make(_ change: (inout DeduplicationConfiguration) -> Void) throws {
      var configuration = DeduplicationConfiguration()
      change(&configuration)
      _ = try Deduplicator(configuration, pool: CorpusFixtures.pool)
    }
    #expect(throws: DeduplicationError.self) { try make { $0.threshold = 1.5 } }
    #expect(throws: DeduplicationError.self) { try make { $0.threshold = .nan } }
    #expect(throws: DeduplicationError.self) { try make { $0.threshold = 1 } }
    #expect(throws: DeduplicationError.self) { try make { $0.permutationCount = 1 } }
    #expect(throws: DeduplicationError.self) { try make { $0.shingleLength = 0 } }
    let deduplicator = try Deduplicator(pool: CorpusFixtures.pool)
    #expect(throws: CorpusError.invalidUTF8(path: "memory", line: 2, offset: 1)) {
      try deduplicator.add(batch([[97], [97, 0xFF]]))
    }
  }
}
