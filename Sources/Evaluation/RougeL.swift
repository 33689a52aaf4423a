/// How much of a text is found in another, in its order: the longest common subsequence of their units.
///
/// Units are words in lower case, and single characters of the scripts that do not write spaces between words (Han,
/// kana, Hangul syllables, Thai, Lao, Khmer, Burmese); punctuation and spaces are none. With L their longest common
/// subsequence of m candidate and n reference units: precision L/m, recall L/n, and F₁ = 2L/(m + n).
///
/// - SeeAlso: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004), at β = 1
public struct RougeL: Sendable, Equatable {
  /// L/m.
  public let precision: Double
  /// L/n.
  public let recall: Double

  /// The harmonic mean of both, 0 where they have nothing in common.
  public var score: Double {
    precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0
  }

  /// Compares two texts.
  ///
  /// Two texts without any unit are alike, and one without has nothing in common with one that has some.
  ///
  /// - Complexity: O(m·n) time, O(n) memory.
  public init(candidate: String, reference: String) {
    let (first, second) = (RougeL.units(candidate), RougeL.units(reference))
    guard !first.isEmpty, !second.isEmpty else {
      let isAlike = first.isEmpty && second.isEmpty
      (precision, recall) = isAlike ? (1, 1) : (0, 0)
      return
    }
    // Units as numbers, so that a comparison is one of integers.
    var numbers: [String: Int] = [:]
    let b = second.map { unit in
      let number = numbers[unit] ?? numbers.count
      numbers[unit] = number
      return number
    }
    let a = first.map { numbers[$0] ?? -1 }
    var row = [Int](repeating: 0, count: b.count + 1)
    for unit in a {
      var diagonal = 0
      for column in b.indices {
        let above = row[column + 1]
        row[column + 1] = unit == b[column] ? diagonal + 1 : max(above, row[column])
        diagonal = above
      }
    }
    precision = Double(row[b.count]) / Double(a.count)
    recall = Double(row[b.count]) / Double(b.count)
  }

  /// The units of a text.
  static func units(_ text: String) -> [String] {
    var units: [String] = []
    var word = ""
    func finish() {
      if !word.isEmpty { units.append(word) }
      word = ""
    }
    for character in text.lowercased() {
      if character.unicodeScalars.contains(where: standsAlone) {
        finish()
        units.append(String(character))
      } else if character.isLetter || character.isNumber {
        word.append(character)
      } else {
        finish()
      }
    }
    finish()
    return units
  }

  /// Whether a script writes no spaces between words.
  private static func standsAlone(_ scalar: Unicode.Scalar) -> Bool {
    guard scalar.properties.isAlphabetic || scalar.properties.isIdeographic else { return false }
    switch scalar.value {
    case 0x0E00...0x0EFF, 0x1000...0x109F, 0x1780...0x17FF,  // Thai and Lao, Burmese, Khmer
      0x3005...0x3007, 0x3040...0x30FF, 0x31F0...0x31FF,  // Kana
      0x3400...0x4DBF, 0x4E00...0x9FFF, 0xF900...0xFAFF, 0x2_0000...0x3_FFFF,  // Han
      0xAC00...0xD7A3:  // Hangul syllables
      return true
    default: return false
    }
  }
}
