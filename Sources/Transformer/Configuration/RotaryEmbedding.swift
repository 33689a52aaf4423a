import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A rotary position embedding: which channels of a head turn, and how fast.
///
/// θᵢ = position·base^(−2i/n) for pair i of the n channels that turn, with the frequencies stretched as
/// `scaling` says.
///
/// - SeeAlso: arXiv:2104.09864; `modeling_rope_utils` in Hugging Face transformers 5.23, whose frequencies
///   these equal to rounding.
public struct RotaryEmbedding: Sendable, Equatable {
  /// How frequencies are stretched beyond the context that the model was trained for.
  public enum Scaling: Sendable, Equatable {
    /// Not at all.
    case none
    /// All divided by a factor.  arXiv:2306.15595
    case linear(factor: Double)
    /// The base grows with the sequence once that is longer than the original context.
    case dynamic(factor: Double, originalContext: Int)
    /// Low frequencies divided, high ones kept, those between blended, as Llama 3.1 does.
    case llama3(factor: Double, lowFrequencyFactor: Double, highFrequencyFactor: Double, originalContext: Int)
    /// Interpolated where a pair turns less than `slow` times over the original context, kept where it turns more
    /// than `fast` times.  arXiv:2309.00071
    case yarn(factor: Double, fast: Double, slow: Double, originalContext: Int, isTruncated: Bool)
    /// One factor per pair, other ones beyond the original context.  arXiv:2402.13753
    case longrope(short: [Float], long: [Float], originalContext: Int)
  }

  /// Channels of a head that turn; even.
  public var dimension: Int
  /// n of the exponents 2i/n; one less than `dimension` where an odd number of channels was to turn.
  public var exponentDimension: Int
  /// The base of the geometric series of frequencies.
  public var base: Double
  /// Which channels form pairs.
  public var pairing: RotaryPairing
  /// How frequencies are stretched.
  public var scaling: Scaling
  /// Multiplies cosines and sines.
  public var attentionFactor: Double

  /// Describes an embedding.
  public init(
    dimension: Int, exponentDimension: Int? = nil, base: Double, pairing: RotaryPairing = .halves,
    scaling: Scaling = .none, attentionFactor: Double = 1
  ) {
    precondition(dimension > 0 && dimension.isMultiple(of: 2), "\(dimension) rotary channels")
    self.dimension = dimension
    self.exponentDimension = exponentDimension ?? dimension
    self.base = base
    self.pairing = pairing
    self.scaling = scaling
    self.attentionFactor = attentionFactor
  }

  /// Whether the angles of early positions depend on how long the sequence gets.
  public var dependsOnLength: Bool { stableLength != nil }

  /// The longest sequence whose angles are those of the shortest; nothing when all are.
  public var stableLength: Int? {
    switch scaling {
    case .dynamic(_, let context): context
    // With one set of factors for all lengths (as GGUF files state Llama 3's) nothing changes.
    case .longrope(let short, let long, let context): short == long ? nil : context
    default: nil
    }
  }

  /// How long sequences may get where the model was trained for `context` positions.
  ///
  /// The dynamic kind exists for what lies beyond; the others count it into the model's context already.
  public func context(trainedFor context: Int) -> Int {
    guard case .dynamic(let factor, let original) = scaling, original == context else { return context }
    return Int(min(Double(context) * max(factor, 1), Double(Int32.max)))
  }

  /// The frequency of each pair, (dimension/2), in `Float` as transformers computes them.
  ///
  /// - Parameter sequenceLength: positions of the whole sequence so far, the new ones included.
  public func inverseFrequencies(sequenceLength: Int) -> [Float] {
    switch scaling {
    case .none:
      return powers(of: base).map { 1 / $0 }
    case .linear(let factor):
      return powers(of: base).map { 1 / $0 / Float(factor) }
    case .dynamic(let factor, let context):
      let stretch = factor * Double(max(sequenceLength, context)) / Double(context) - (factor - 1)
      let size = Double(exponentDimension)
      let exponent = size > 2 ? size / (size - 2) : 1
      return powers(of: base * pow(stretch, exponent)).map { 1 / $0 }
    case .llama3(let factor, let low, let high, let context):
      return powers(of: base).map { power in
        let frequency = 1 / power
        let wavelength = 2 * Float.pi / frequency
        if wavelength > Float(Double(context) / low) { return frequency / Float(factor) }
        if wavelength < Float(Double(context) / high) { return frequency }
        let smooth = (Float(context) / wavelength - Float(low)) / Float(high - low)
        return (1 - smooth) * frequency / Float(factor) + smooth * frequency
      }
    case .yarn(let factor, let fast, let slow, let context, let isTruncated):
      func pair(turning count: Double) -> Double {
        Double(dimension) * log(Double(context) / (count * 2 * .pi)) / (2 * log(base))
      }
      var (first, last) = (pair(turning: fast), pair(turning: slow))
      if isTruncated { (first, last) = (first.rounded(.down), last.rounded(.up)) }
      (first, last) = (max(first, 0), min(last, Double(dimension - 1)))
      if first == last { last += 0.001 }
      return powers(of: base).enumerated().map { index, power in
        let ramp = min(max((Float(index) - Float(first)) / Float(last - first), 0), 1)
        let kept = 1 - ramp
        return 1 / (Float(factor) * power) * (1 - kept) + 1 / power * kept
      }
    case .longrope(let short, let long, let context):
      let factors = sequenceLength > context ? long : short
      return zip(powers(of: base), factors).map { 1 / ($1 * $0) }
    }
  }

  /// base^(2i/n) for each pair i.
  private func powers(of base: Double) -> [Float] {
    stride(from: 0, to: dimension, by: 2).map { powf(Float(base), Float($0) / Float(exponentDimension)) }
  }

  /// Fills the cosines and sines of some positions.
  ///
  /// - Parameters:
  ///   - positions: (R), from 0.
  ///   - frequencies: (n/2).
  ///   - cosines: (R, n/2).
  ///   - sines: (R, n/2).
  func fill(
    positions: ArraySlice<Int>, frequencies: [Float], cosines: MutableMatrixView, sines: MutableMatrixView
  ) {
    let factor = Float(attentionFactor)
    precondition(
      cosines.rows == positions.count && sines.rows == positions.count
        && cosines.columns == frequencies.count && sines.columns == frequencies.count,
      "\(positions.count) positions and \(frequencies.count) frequencies into (\(cosines.rows), \(cosines.columns))"
    )
    for (row, position) in positions.enumerated() {
      for (pair, frequency) in frequencies.enumerated() {
        // In `Float`, as transformers: at far positions the rounding of this product is part of the numbers.
        let angle = frequency * Float(position)
        cosines.row(row)[pair] = cosf(angle) * factor
        sines.row(row)[pair] = sinf(angle) * factor
      }
    }
  }
}
