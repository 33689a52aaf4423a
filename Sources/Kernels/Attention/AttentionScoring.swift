#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// How a product of query and key becomes the score that the softmax sees.
///
/// score(i, j) = cap(s·qᵢ·kⱼ) + m·j, for the positions j of the window that ends at i
public struct AttentionScoring: Sendable, Equatable {
  /// s, 1/√D where the model does not say otherwise.
  public var scale: Float
  /// c of c·tanh(x/c).  arXiv:2408.00118
  public var softCap: Float?
  /// Positions that a query sees, its own included; nothing when it sees all.  arXiv:2310.06825
  public var window: Int?
  /// A bias that grows with the position of the key.
  public var bias: LinearPositionBias?

  /// Describes the scores of one layer.
  public init(scale: Float, softCap: Float? = nil, window: Int? = nil, bias: LinearPositionBias? = nil) {
    precondition(window.map { $0 > 0 } ?? true, "a window of \(window ?? 0) positions")
    self.scale = scale
    self.softCap = softCap
    self.window = window
    self.bias = bias
  }
}

/// Attention with linear biases: m·j is added to the score of the key at position j, m being the head's slope.
///
/// Added to all scores of a row alike, m·i changes nothing: only distances count.
/// - SeeAlso: arXiv:2108.12409
public struct LinearPositionBias: Sendable, Equatable {
  /// One slope per query head, (H).
  public var slopes: [Float]
  /// Multiplies the bias.
  public var factor: Float
  /// Whether slope, position and product are rounded to bfloat16, as Falcon's are.
  public var isRoundedToBFloat16: Bool

  /// Describes the biases.
  public init(slopes: [Float], factor: Float = 1, isRoundedToBFloat16: Bool = false) {
    self.slopes = slopes
    self.factor = factor
    self.isRoundedToBFloat16 = isRoundedToBFloat16
  }

  /// The slopes of `headCount` heads: 2^(−8h/H) for a power of two, filled up from the next power otherwise.
  public static func slopes(headCount: Int) -> [Float] {
    precondition(headCount > 0)
    var power = 1
    while 2 * power <= headCount { power *= 2 }
    func base(_ count: Int) -> Float { Float(exp2(-exp2(3 - log2(Double(count))))) }
    var slopes = (1...power).map { powerOf(base(power), $0) }
    if power < headCount {
      slopes += (0..<headCount - power).map { powerOf(base(2 * power), 2 * $0 + 1) }
    }
    return slopes
  }

  /// The bias of the key at a position, for one head.
  @inline(__always)
  func value(head: Int, position: Int) -> Float {
    guard isRoundedToBFloat16 else { return slopes[head] * Float(position) * factor }
    return roundedToBFloat16(roundedToBFloat16(slopes[head]) * roundedToBFloat16(Float(position))) * factor
  }
}

private func powerOf(_ base: Float, _ exponent: Int) -> Float {
  Float(pow(Double(base), Double(exponent)))
}

/// The nearest number that a bfloat16 holds, ties to even.
private func roundedToBFloat16(_ x: Float) -> Float {
  let bits = x.bitPattern
  // Safe: a finite number, far from overflow.
  return Float(bitPattern: (bits &+ 0x7FFF &+ (bits >> 16 & 1)) & 0xFFFF_0000)
}

/// Turns a row of products into scores: cap, then bias.
///
/// - Parameters:
///   - x: (count), the products s·q·k of the keys at `first`, `first + 1`, …; in place.
///   - head: the query head.
@inline(__always)
func score(
  _ x: UnsafeMutablePointer<Float>, count: Int, first: Int, head: Int, _ scoring: AttentionScoring
) {
  if let cap = scoring.softCap { softCapRow(x, cap: cap, into: x, count: count) }
  if let bias = scoring.bias {
    for index in 0..<count { x[index] += bias.value(head: head, position: first + index) }
  }
}
