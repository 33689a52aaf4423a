import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Shapes the distribution that a token is drawn from.
///
/// Scores that are NaN or +∞ never reach a filter. Filters that remove tokens spare the best `spared` ones:
/// one, or with beams one more than there are end tokens, so that every beam can go on.
protocol CandidateFilter {
  func apply(to candidates: CandidateSet)
}

/// Sharpens (t < 1) or flattens the distribution.  s_v ← s_v / t
///
/// - SeeAlso: transformers `TemperatureLogitsWarper`.
struct Temperature: CandidateFilter {
  let temperature: Float

  func apply(to candidates: CandidateSet) {
    let scores = candidates.scores
    for index in 0..<candidates.count { scores[index] /= temperature }
  }
}

/// Keeps the k best tokens, and those that equal the k-th.
///
/// - SeeAlso: arXiv:1805.04833; transformers `TopKLogitsWarper`.
struct TopK: CandidateFilter {
  let limit: Int
  let spared: Int

  func apply(to candidates: CandidateSet) {
    let rank = max(limit, spared)
    // Tokens outside the set count with −∞: nothing is below the threshold then.
    guard rank < candidates.count else { return }
    candidates.keep(scoresFrom: candidates.score(ofRank: rank))
  }
}

/// Keeps the smallest set of best tokens whose probability reaches p.
///
/// In ascending order of score, of equal ones the lower id first, tokens go while the sum of probabilities is
/// at most 1 − p. (torch's sort leaves the order of equal ones open.)
///
/// - SeeAlso: arXiv:1904.09751; transformers `TopPLogitsWarper`.
struct TopP: CandidateFilter {
  let mass: Double
  let spared: Int

  func apply(to candidates: CandidateSet) {
    guard candidates.computeProbabilities() else { return }
    let scores = candidates.scores
    let crossing = candidates.crossing(
      keys: scores, weights: candidates.weights, target: Float(1 - mass), orEquals: false)
    let boundary = candidates.lastByScore(spared)
    // Of crossing and spared ones, whichever comes first in ascending order.
    var first = boundary
    if let crossing, (scores[crossing], crossing) < (scores[boundary], boundary) { first = crossing }
    let threshold = scores[first]
    candidates.keep { index in scores[index] > threshold || (scores[index] == threshold && index >= first) }
  }
}

/// Keeps tokens whose probability is at least a share of the best one's.
///
/// - SeeAlso: arXiv:2407.01082; transformers `MinPLogitsWarper`.
struct MinimumP: CandidateFilter {
  let share: Double
  let spared: Int

  func apply(to candidates: CandidateSet) {
    guard candidates.computeProbabilities() else { return }
    let probabilities = candidates.weights
    let threshold = Float(share) * maximumOfRow(probabilities, count: candidates.count)
    let best = topK(min(spared, candidates.count), of: probabilities, count: candidates.count)
    let worstSpared = best[best.count - 1]
    let worst = probabilities[worstSpared]
    candidates.keep { index in
      let probability = probabilities[index]
      return probability >= threshold || probability > worst || (probability == worst && index <= worstSpared)
    }
  }
}

/// Keeps the tokens whose information is closest to the entropy, until their probability reaches a mass.
///
/// With d_v = |−log p_v − H|: in ascending order of d, through the first token at which the sum of
/// probabilities reaches the mass; what equals its d stays.
///
/// - SeeAlso: arXiv:2202.00666; transformers `TypicalLogitsWarper`.
struct Typical: CandidateFilter {
  let mass: Double
  let spared: Int

  func apply(to candidates: CandidateSet) {
    let (count, scores, deviations) = (candidates.count, candidates.scores, candidates.keys)
    let normalizer = LogNormalizer(scores, count: count)
    guard normalizer.isValid, candidates.computeProbabilities() else { return }
    let probabilities = candidates.weights
    let entropy = Float(candidates.entropy(normalizer))
    for index in 0..<count { deviations[index] = abs(-normalizer(scores[index]) - entropy) }

    let crossing = candidates.crossing(
      keys: deviations, weights: probabilities, target: Float(mass), orEquals: true)
    guard let crossing else { return }  // Rounding kept the sum of all below the mass: the last one bounds.
    let threshold = deviations[crossing]
    for index in 0..<count { probabilities[index] = -deviations[index] }
    let nearest = topK(min(spared, count), of: probabilities, count: count)
    let worstSpared = nearest[nearest.count - 1]
    let worst = deviations[worstSpared]
    candidates.keep { index in
      let deviation = deviations[index]
      return deviation <= threshold || deviation < worst || (deviation == worst && index <= worstSpared)
    }
  }
}

/// Removes tokens whose probability is below ε.
///
/// - SeeAlso: arXiv:2210.15191; transformers `EpsilonLogitsWarper`.
struct EpsilonCutoff: CandidateFilter {
  let epsilon: Double
  let spared: Int

  func apply(to candidates: CandidateSet) { candidates.cut(below: { _ in Float(epsilon) }, spared: spared) }
}

/// Removes tokens whose probability is below η = min(ε, √ε·e^(−H)), with H the entropy.
///
/// - SeeAlso: arXiv:2210.15191; transformers `EtaLogitsWarper`.
struct EtaCutoff: CandidateFilter {
  let epsilon: Double
  let spared: Int

  func apply(to candidates: CandidateSet) {
    candidates.cut(
      below: { entropy in min(Float(epsilon), Float(epsilon).squareRoot() * exp(-entropy)) }, spared: spared)
  }
}

/// Keeps the best tokens while their share of the entropy of the best hundred is at most h.
///
/// - SeeAlso: arXiv:2509.02510; transformers `TopHLogitsWarper`.
struct TopH: CandidateFilter {
  let share: Double

  func apply(to candidates: CandidateSet) {
    let scores = candidates.scores
    let best = topK(min(100, candidates.count), of: scores, count: candidates.count)
    let maximum = Double(scores[best[0]])
    guard maximum.isFinite else { return }
    var sum = 0.0
    for index in best { sum += exp(Double(scores[index]) - maximum) }
    // What has no probability in fp32 ends the sum: −0·log 0 is not a number, to torch.
    var terms: [Double] = []
    for index in best {
      let logarithm = Double(scores[index]) - maximum - log(sum)
      guard Float(exp(logarithm)) > 0 else { break }
      terms.append(-exp(logarithm) * logarithm)
    }
    let budget = Float(terms.reduce(0, +)) * Float(share)
    var cumulative = 0.0
    var kept = 0
    for term in terms {
      cumulative += term
      guard Float(cumulative) <= budget || kept == 0 else { break }
      kept += 1
    }
    let worstIndex = best[kept - 1]
    let worst = scores[worstIndex]
    candidates.keep { index in scores[index] > worst || (scores[index] == worst && index <= worstIndex) }
  }
}

extension CandidateSet {
  /// −Σ p·log p of the scores.
  /// - Precondition: `weights` holds their probabilities.
  fileprivate func entropy(_ normalizer: LogNormalizer) -> Double {
    var sum = 0.0
    for index in 0..<count where weights[index] > 0 {
      sum -= Double(normalizer(scores[index])) * Double(weights[index])
    }
    return sum
  }

  /// Removes what is less probable than a threshold that may depend on the entropy, sparing the best scores.
  fileprivate func cut(below threshold: (Float) -> Float, spared: Int) {
    let normalizer = LogNormalizer(scores, count: count)
    guard normalizer.isValid, computeProbabilities() else { return }
    let limit = threshold(Float(entropy(normalizer)))
    let worst = score(ofRank: min(spared, count))
    let (scores, probabilities) = (scores, weights)
    keep { index in probabilities[index] >= limit || scores[index] >= worst }
  }

  /// The candidate that is n-th from the end in ascending order of score and then of index.
  fileprivate func lastByScore(_ number: Int) -> Int {
    let number = min(number, count)
    let worst = score(ofRank: number)
    var above = 0
    for index in 0..<count where scores[index] > worst { above += 1 }
    // Of those that equal the worst, the last ones.
    var remaining = number - above
    for index in stride(from: count - 1, through: 0, by: -1) where scores[index] == worst {
      remaining -= 1
      if remaining == 0 { return index }
    }
    return 0
  }
}
