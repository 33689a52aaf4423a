import Kernels

/// What counts as a duplicate.
public struct DeduplicationConfiguration: Sendable, Equatable {
  /// Which texts are taken for the same.
  public enum Method: String, Sendable, CaseIterable {
    /// Those of the same bytes.
    case exact
    /// Those whose MinHash signatures agree in a band, which texts of the same bytes do.
    case near
  }

  /// Which texts are taken for the same.
  public var method = Method.near
  /// The Jaccard similarity of shingles above which texts should be found, 0 to 1.
  public var threshold = 0.8
  /// Values in a signature.
  public var permutationCount = 128
  /// Characters in a shingle.
  public var shingleLength = 5
  /// Of the permutations.
  public var seed: UInt32 = 1
  /// How a shingle's hash is permuted.
  public var scheme = MinHash.Scheme.affine32

  /// Near-duplicates as datasketch 2.0 finds them with 128 permutations, threshold 0.8 and seed 1.
  public init() {}

  /// Checks the settings.
  ///
  /// - Throws: `DeduplicationError`.
  func check() throws(DeduplicationError) {
    guard threshold >= 0, threshold <= 1 else {
      throw .setting(name: "threshold", reason: "is \(threshold); give 0 to 1")
    }
    guard (2...4096).contains(permutationCount) else {
      throw .setting(name: "permutations", reason: "is \(permutationCount); give 2 to 4096")
    }
    guard (1...1000).contains(shingleLength) else {
      throw .setting(name: "shingle length", reason: "is \(shingleLength); give 1 to 1000")
    }
  }
}

/// Why duplicates cannot be looked for.
public enum DeduplicationError: Error, Equatable, CustomStringConvertible {
  /// A setting that makes no sense.
  case setting(name: String, reason: String)
  /// More documents than can be numbered.
  case tooMany

  /// One line that names the fault and the fix.
  public var description: String {
    switch self {
    case .setting(let name, let reason): "\(name): \(reason)"
    case .tooMany: "there are more than 4294967294 documents; deduplicate in parts"
    }
  }
}

/// Finds documents that are the same, or nearly.
///
/// Documents are numbered from 0 as they come. Two are in one cluster when they meet directly or over others, as
/// the connected components of what `MinHashLSH.query` of datasketch returns once all are inserted. Memory is about
/// 25 bytes per document and band, whatever the length of the documents.
public final class Deduplicator {
  /// The bands, for near-duplicates.
  public let banding: Banding?

  private let minHash: MinHash
  private let pool: WorkerPool
  private var clusters = DisjointSets()
  private var exact = HashIndex()
  private var bands = HashIndex()
  private var exactCount = 0

  /// - Throws: `DeduplicationError` for settings that make no sense.
  public init(_ configuration: DeduplicationConfiguration = .init(), pool: WorkerPool) throws {
    try configuration.check()
    self.pool = pool
    minHash = MinHash(
      permutationCount: configuration.permutationCount, seed: configuration.seed,
      shingleLength: configuration.shingleLength, scheme: configuration.scheme)
    if configuration.method == .near {
      let banding = Banding(
        threshold: configuration.threshold, permutationCount: configuration.permutationCount)
      guard banding.bandCount >= 2 else {
        throw DeduplicationError.setting(
          name: "threshold",
          reason: "at \(configuration.threshold) one band is best; lower it, or ask for exact")
      }
      self.banding = banding
    } else {
      banding = nil
    }
  }

  /// Documents so far.
  public var documentCount: Int { clusters.count }

  /// Takes in documents.
  ///
  /// - Throws: `CorpusError.invalidUTF8` naming the document.
  public func add(_ batch: DocumentBatch) throws {
    guard clusters.count + batch.documents.count < Int(UInt32.max) else { throw DeduplicationError.tooMany }
    let (banding, minHash) = (banding, minHash)
    let keys = try pool.map(batch.documents.count) { index in
      try batch.check(index)
      return batch.withDocument(index) { text in
        var keys = [Deduplicator.exactKey(text)]
        if let banding { keys += Deduplicator.bandKeys(minHash.signature(of: text), banding) }
        return keys
      }
    }
    for keys in keys {
      let document = UInt32(clusters.add())
      if let first = exact.insert(keys[0], document) {
        exactCount += 1
        clusters.join(first, document)
        // The same bytes have the same bands.
        continue
      }
      for key in keys.dropFirst() {
        if let first = bands.insert(key, document) { clusters.join(first, document) }
      }
    }
  }

  /// What was found.
  public func finish() -> DuplicateClusters {
    DuplicateClusters(representatives: clusters.smallestMembers(), exactCount: exactCount)
  }

  private static func exactKey(_ text: UnsafeBufferPointer<UInt8>) -> HashIndex.Key {
    let bytes = UnsafeRawBufferPointer(text)
    return HashIndex.Key(upper: ContentHash.of(bytes, seed: 1), lower: ContentHash.of(bytes, seed: 2))
  }

  /// A key for each band: of its number and its values.
  private static func bandKeys(_ signature: [UInt32], _ banding: Banding) -> [HashIndex.Key] {
    signature.withUnsafeBytes { bytes in
      (0..<banding.bandCount).map { band in
        let size = 4 * banding.rowCount
        let part = UnsafeRawBufferPointer(rebasing: bytes[band * size..<(band + 1) * size])
        let seed = UInt64(band) << 1
        return HashIndex.Key(
          upper: ContentHash.of(part, seed: seed), lower: ContentHash.of(part, seed: seed | 1))
      }
    }
  }
}

/// Which documents are the same.
public struct DuplicateClusters: Sendable {
  /// For each document the first one of its cluster: itself, when it is to be kept.
  public let representatives: [UInt32]
  /// Documents whose bytes an earlier one has.
  public let exactCount: Int

  /// Whether a document is the first of its cluster.
  public func keeps(_ document: Int) -> Bool { Int(representatives[document]) == document }

  /// Documents that are not the first of their cluster.
  public var duplicateCount: Int { representatives.indices.count { !keeps($0) } }

  /// The clusters of two and more documents, in the order of their first members.
  public var clusters: [[Int]] {
    var members: [UInt32: [Int]] = [:]
    for (document, first) in representatives.enumerated() where document != Int(first) {
      members[first, default: [Int(first)]].append(document)
    }
    return members.values.sorted { $0[0] < $1[0] }
  }
}

/// Sets that are joined, each known by its smallest member in the end.
struct DisjointSets {
  private var parents: [UInt32] = []
  var count: Int { parents.count }

  /// Adds a set of one and gives its number.
  mutating func add() -> Int {
    parents.append(UInt32(parents.count))
    return parents.count - 1
  }

  mutating func join(_ left: UInt32, _ right: UInt32) {
    let (x, y) = (root(left), root(right))
    // The smaller number is the root, so that the root is the first document.
    if x < y { parents[Int(y)] = x } else { parents[Int(x)] = y }
  }

  private mutating func root(_ member: UInt32) -> UInt32 {
    var at = member
    while parents[Int(at)] != at {
      parents[Int(at)] = parents[Int(parents[Int(at)])]
      at = parents[Int(at)]
    }
    return at
  }

  /// The smallest member of each number's set.
  mutating func smallestMembers() -> [UInt32] { parents.indices.map { root(UInt32($0)) } }
}

/// The first document of each 128-bit hash, by open addressing.
struct HashIndex {
  struct Key: Sendable, Equatable {
    var upper: UInt64
    var lower: UInt64
  }

  /// Half of a key is kept, and the other half finds its place: together more than 64 bits tell keys apart.
  private var tags: [UInt64] = [UInt64](repeating: 0, count: 1 << 10)
  private var documents: [UInt32] = [UInt32](repeating: .max, count: 1 << 10)
  private var homes: [UInt32] = [UInt32](repeating: 0, count: 1 << 10)
  private var count = 0

  /// Enters a document where the key is new; gives the document that has it otherwise.
  mutating func insert(_ key: Key, _ document: UInt32) -> UInt32? {
    if 3 * count > 2 * tags.count { grow() }
    let home = UInt32(truncatingIfNeeded: key.lower)
    var slot = Int(home) & (tags.count - 1)
    while documents[slot] != .max {
      if tags[slot] == key.upper, homes[slot] == home { return documents[slot] }
      slot = (slot + 1) & (tags.count - 1)
    }
    tags[slot] = key.upper
    homes[slot] = home
    documents[slot] = document
    count += 1
    return nil
  }

  private mutating func grow() {
    let (oldTags, oldDocuments, oldHomes) = (tags, documents, homes)
    let size = 2 * oldTags.count
    tags = [UInt64](repeating: 0, count: size)
    documents = [UInt32](repeating: .max, count: size)
    homes = [UInt32](repeating: 0, count: size)
    for index in oldTags.indices where oldDocuments[index] != .max {
      var slot = Int(oldHomes[index]) & (size - 1)
      while documents[slot] != .max { slot = (slot + 1) & (size - 1) }
      tags[slot] = oldTags[index]
      homes[slot] = oldHomes[index]
      documents[slot] = oldDocuments[index]
    }
  }
}
