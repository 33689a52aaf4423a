/// A text cut into the units that n-grams of texts are made of: words, where a script has them, and characters.
///
/// A Han character or a kana is a unit by itself, as is every punctuation mark and symbol; a run of other letters,
/// digits and marks is one; white space and controls part units and are none. Letters are compared as they are.
public struct TextUnits: Sendable {
  /// The units in the order of the text.
  public let units: [Substring]

  /// Cuts a text.
  ///
  /// - Complexity: O(scalars).
  public init(_ text: String) {
    let scalars = text.unicodeScalars
    var units: [Substring] = []
    var start: String.Index?
    func close(_ end: String.Index) {
      if let first = start { units.append(text[first..<end]) }
      start = nil
    }
    for index in scalars.indices {
      switch TextUnits.kind(of: scalars[index]) {
      case .blank: close(index)
      case .single:
        close(index)
        units.append(text[index..<scalars.index(after: index)])
      case .word: if start == nil { start = index }
      }
    }
    close(text.endIndex)
    self.units = units
  }

  private enum Kind { case blank, single, word }

  private static func kind(of scalar: Unicode.Scalar) -> Kind {
    switch scalar.value {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: return .word
    // The mark of a repeated character, kana, and their phonetic extensions.
    case 0x3005, 0x3040...0x30FF, 0x31F0...0x31FF: return .single
    default: break
    }
    let properties = scalar.properties
    if properties.isIdeographic { return .single }
    switch properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .spaceSeparator, .unassigned, .surrogate:
      return .blank
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .nonspacingMark,
      .spacingMark, .enclosingMark, .decimalNumber, .letterNumber, .otherNumber:
      return .word
    default: return .single
    }
  }
}
