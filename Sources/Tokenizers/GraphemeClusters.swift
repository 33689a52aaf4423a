/// Extended grapheme clusters, with the character data that `tokenizers` has.
///
/// - SeeAlso: Unicode Standard Annex #29, rules GB3 to GB13.
enum GraphemeClusters {
  /// What the rules need to know of a character; the raw values are those of the generated table.
  private enum Kind {
    static let control: UInt8 = 1
    /// Extends what is before it, without a part in the rule for Indic conjuncts.
    static let extend: UInt8 = 2
    /// Extends, and may stand within a conjunct.
    static let conjunctExtend: UInt8 = 3
    /// A virama, which joins two consonants.
    static let linker: UInt8 = 4
    static let joiner: UInt8 = 5
    static let spacingMark: UInt8 = 6
    static let prepend: UInt8 = 7
    static let leading: UInt8 = 8
    static let vowel: UInt8 = 9
    static let trailing: UInt8 = 10
    /// A syllable with or without trailing consonant; its number says which.
    static let syllable: UInt8 = 11
    static let regional: UInt8 = 12
    static let pictographic: UInt8 = 13
    static let consonant: UInt8 = 14
  }

  private static let table = CodePointTable(runs: CodePointTable.graphemes)

  /// The end of the cluster that begins at an offset below `count`.
  static func end(_ text: UnsafePointer<UInt8>, _ start: Int, _ count: Int) -> Int {
    // Two printable ASCII characters never join.
    if text[start] &- 0x20 < 0x5F, start &+ 1 == count || text[start &+ 1] &- 0x20 < 0x5F {
      return start &+ 1
    }
    var (value, length) = UTF8Bytes.scalar(text, start)
    var kind = table[value]
    var at = start + length
    // Pictograph, extenders, joiner; 1 after the extenders, 2 after the joiner.
    var pictograph = kind == Kind.pictographic ? 1 : 0
    // Consonant, extenders, linker, extenders; 2 from the linker on.
    var conjunct = kind == Kind.consonant ? 1 : 0
    var regionals = kind == Kind.regional ? 1 : 0
    while at < count {
      let (next, length) = UTF8Bytes.scalar(text, at)
      let nextKind = table[next]
      guard
        joins(value, kind, next, nextKind)
          || (nextKind == Kind.pictographic && pictograph == 2)
          || (nextKind == Kind.consonant && conjunct == 2)
          || (nextKind == Kind.regional && kind == Kind.regional && regionals % 2 == 1)
      else { return at }
      switch nextKind {
      case Kind.pictographic: pictograph = 1
      case Kind.joiner: pictograph = pictograph == 1 ? 2 : 0
      case Kind.extend, Kind.conjunctExtend, Kind.linker: if pictograph == 2 { pictograph = 0 }
      default: pictograph = 0
      }
      switch nextKind {
      case Kind.consonant: conjunct = 1
      case Kind.linker: if conjunct == 1 { conjunct = 2 }
      case Kind.conjunctExtend, Kind.joiner: break
      default: conjunct = 0
      }
      regionals = nextKind == Kind.regional ? regionals + 1 : 0
      (value, kind) = (next, nextKind)
      at += length
    }
    return at
  }

  /// The rules that look at two neighbours only.
  @inline(__always)
  private static func joins(_ value: UInt32, _ kind: UInt8, _ next: UInt32, _ nextKind: UInt8) -> Bool {
    if kind == Kind.control { return value == 0x0D && next == 0x0A }
    switch nextKind {
    case Kind.control: return false
    case Kind.extend, Kind.conjunctExtend, Kind.linker, Kind.joiner, Kind.spacingMark: return true
    default: break
    }
    switch kind {
    case Kind.prepend: return true
    case Kind.leading:
      return nextKind == Kind.leading || nextKind == Kind.vowel || nextKind == Kind.syllable
    case Kind.vowel: return nextKind == Kind.vowel || nextKind == Kind.trailing
    case Kind.trailing: return nextKind == Kind.trailing
    case Kind.syllable:
      let hasTrailing = (value - 0xAC00) % 28 != 0
      return nextKind == Kind.trailing || (nextKind == Kind.vowel && !hasTrailing)
    default: return false
    }
  }
}
