/// What other rooms need to know of characters, with the data that tokenizing uses.
package enum UnicodeText {
  /// A coarse kind of character.
  package enum Kind: UInt8, Sendable {
    case letter, mark, number, punctuation, symbol, space, control, format, other
  }

  /// The text in Unicode's composed form (NFC); `nil` when it is in it already.
  ///
  /// - Parameter text: UTF-8.
  package static func composed(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
    // A mark that composes with nothing is looked at and stays.
    NormalForm.nfc.apply(to: text).flatMap { $0.elementsEqual(text) ? nil : $0 }
  }

  /// The kind of a code point below U+110000.
  package static func kind(_ codePoint: UInt32) -> Kind {
    let bit = CategoryTable.shared.bit(codePoint)
    return kinds[bit.trailingZeroBitCount]
  }

  /// By the position of the category's bit.
  private static let kinds: [Kind] = {
    var out = [Kind](repeating: .other, count: 32)
    for category in GeneralCategory.allCases {
      out[Int(category.rawValue)] =
        switch category {
        case .lu, .ll, .lt, .lm, .lo: .letter
        case .mn, .mc, .me: .mark
        case .nd, .nl, .no: .number
        case .pc, .pd, .ps, .pe, .pi, .pf, .po: .punctuation
        case .sm, .sc, .sk, .so: .symbol
        case .zs, .zl, .zp: .space
        case .cc: .control
        case .cf: .format
        case .co, .cn: .other
        }
    }
    out[Int(CategoryTable.controlSpace)] = .space
    return out
  }()
}
