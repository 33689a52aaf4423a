import Tokenizers

/// Signatures of texts whose agreement estimates how much of their shingles the texts share.
///
/// Equal to `MinHash(num_perm:seed:scheme:)` of datasketch, updated with the UTF-8 of every run of k characters.
///
/// - SeeAlso: Broder, "On the resemblance and containment of documents", 1997.
public struct MinHash: Sendable {
  /// How a shingle's hash is permuted.
  public enum Scheme: String, Sendable, CaseIterable {
    /// (a · mix(h) + b) mod 2^32 with odd a: datasketch from 2.0 on.
    case affine32
    /// ((a · h + b) mod 2^64 mod (2^61 − 1)) mod 2^32: datasketch before 2.0.
    case legacy
  }

  /// Permutations, and values in a signature.
  public let permutationCount: Int
  /// Characters in a shingle.
  public let shingleLength: Int
  private let scheme: Scheme
  private let factors: [UInt64]
  private let offsets: [UInt64]
  /// Those of `affine32`, filled up to a multiple of the vector's length.
  private let factors32: [UInt32]
  private let offsets32: [UInt32]

  private typealias Vector = SIMD16<UInt32>

  /// Draws the permutations.
  ///
  /// - Precondition: both counts are positive.
  public init(
    permutationCount: Int = 128, seed: UInt32 = 1, shingleLength: Int = 5, scheme: Scheme = .affine32
  ) {
    precondition(permutationCount > 0 && shingleLength > 0, "\(permutationCount), \(shingleLength)")
    self.permutationCount = permutationCount
    self.shingleLength = shingleLength
    self.scheme = scheme
    var random = MersenneTwister(seed: seed)
    var (factors, offsets): ([UInt64], [UInt64]) = ([], [])
    switch scheme {
    case .affine32:
      factors = (0..<permutationCount).map { _ in UInt64(random.next32() & 0x7FFF_FFFF) * 2 + 1 }
      offsets = (0..<permutationCount).map { _ in UInt64(random.next32()) }
    case .legacy:
      for _ in 0..<permutationCount {
        factors.append(random.integer(in: 1..<MinHash.prime))
        offsets.append(random.integer(in: 0..<MinHash.prime))
      }
    }
    self.factors = factors
    self.offsets = offsets
    let padding = (16 - permutationCount % 16) % 16
    factors32 = factors.map { UInt32(truncatingIfNeeded: $0) } + [UInt32](repeating: 1, count: padding)
    offsets32 = offsets.map { UInt32(truncatingIfNeeded: $0) } + [UInt32](repeating: 0, count: padding)
  }

  private static let prime: UInt64 = 1 << 61 - 1

  /// The signature of a text, which is UTF-8.
  ///
  /// A text shorter than a shingle is one shingle; an empty one has the signature of an empty set.
  ///
  /// - Complexity: O(characters · permutations).
  public func signature(of text: UnsafeBufferPointer<UInt8>) -> [UInt32] {
    let hashes = shingleHashes(text)
    switch scheme {
    case .affine32: return minima32(hashes.map(MinHash.mix))
    case .legacy: return minima64(hashes)
    }
  }

  /// SHA-1's first 32 bits of every shingle.
  private func shingleHashes(_ text: UnsafeBufferPointer<UInt8>) -> [UInt32] {
    guard let base = text.baseAddress, !text.isEmpty else { return [] }
    var starts: [Int] = []
    starts.reserveCapacity(text.count + 1)
    for at in 0..<text.count where text[at] & 0xC0 != 0x80 { starts.append(at) }
    let characters = starts.count
    starts.append(text.count)
    guard characters > shingleLength else { return [SHA1.hash32(base, text.count)] }
    return (0...characters - shingleLength).map { first in
      SHA1.hash32(base + starts[first], starts[first + shingleLength] - starts[first])
    }
  }

  /// MurmurHash3's finaliser.
  private static func mix(_ value: UInt32) -> UInt32 {
    var h = value
    h ^= h >> 16
    h = h &* 0x85EB_CA6B
    h ^= h >> 13
    h = h &* 0xC2B2_AE35
    return h ^ h >> 16
  }

  private func minima32(_ hashes: [UInt32]) -> [UInt32] {
    var out = [UInt32](repeating: .max, count: factors32.count)
    out.withUnsafeMutableBytes { out in
      factors32.withUnsafeBytes { factors in
        offsets32.withUnsafeBytes { offsets in
          hashes.withUnsafeBufferPointer { hashes in
            for start in stride(from: 0, to: out.count, by: 64) {
              let a = factors.loadUnaligned(fromByteOffset: start, as: Vector.self)
              let b = offsets.loadUnaligned(fromByteOffset: start, as: Vector.self)
              var least = Vector(repeating: .max)
              for hash in hashes {
                let value = a &* Vector(repeating: hash) &+ b
                least.replace(with: value, where: value .< least)
              }
              out.storeBytes(of: least, toByteOffset: start, as: Vector.self)
            }
          }
        }
      }
    }
    return Array(out[..<permutationCount])
  }

  private func minima64(_ hashes: [UInt32]) -> [UInt32] {
    (0..<permutationCount).map { index in
      let (a, b) = (factors[index], offsets[index])
      var least = UInt32.max
      for hash in hashes {
        // Safe: numpy's 64-bit products and sums wrap around, and so do these.
        let sum = a &* UInt64(hash) &+ b
        var value = (sum & MinHash.prime) &+ sum >> 61
        if value >= MinHash.prime { value &-= MinHash.prime }
        least = min(least, UInt32(truncatingIfNeeded: value))
      }
      return least
    }
  }
}
