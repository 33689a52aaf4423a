/// The general category of a code point, in the order of the generated table.
///
/// Surrogates do not occur in UTF-8 and count as unassigned.
enum GeneralCategory: UInt8, CaseIterable {
  case cn, lu, ll, lt, lm, lo, mn, mc, me, nd, nl, no, pc, pd, ps, pe, pi, pf, po, sm, sc, sk, so, zs, zl, zp
  case cc, cf, co

  /// The name as Unicode writes it: `Lu`, `Nd`.
  var name: String {
    let letters = Array(String(describing: self))
    return letters[0].uppercased() + String(letters[1])
  }

  /// The categories that a one- or two-letter name stands for.
  static func named(_ name: String) -> [GeneralCategory] {
    allCases.filter { $0.name == name || (name.count == 1 && $0.name.hasPrefix(name)) }
  }
}

/// The category of every code point, for pre-tokenisers that look at one character at a time.
///
/// Two stages: the upper bits choose a page, the lower eight a byte in it. Pages of one category are shared.
struct CategoryTable: @unchecked Sendable {
  /// White space among the control characters (tab to carriage return, U+0085), a category of its own so
  /// that `\s` is a set of categories.
  static let controlSpace: UInt8 = 29

  /// The only table; its memory is never released.
  static let shared = CategoryTable()

  private let pages: UnsafeMutablePointer<UInt8>
  private let index: UnsafeMutablePointer<UInt16>

  private init() {
    let pageCount = 0x11_0000 >> 8
    let index = UnsafeMutablePointer<UInt16>.allocate(capacity: pageCount)
    var bytes: [UInt8] = []
    var uniform = [Int](repeating: -1, count: 32)
    var page = [UInt8](repeating: 0, count: 256)
    var position = 0
    CompactText.forEachRun(GeneralCategory.runs) { category, length in
      var left = length
      while left > 0 {
        let offset = position & 0xFF
        let count = min(left, 256 - offset)
        for slot in offset..<(offset + count) { page[slot] = category }
        if position >> 8 == 0 {
          for slot in [9, 10, 11, 12, 13, 0x85] where slot >= offset && slot < offset + count {
            page[slot] = CategoryTable.controlSpace
          }
        }
        position += count
        left -= count
        guard position & 0xFF == 0 else { continue }
        let isUniform = page[0] == page[255] && page.allSatisfy { $0 == page[0] }
        if isUniform, uniform[Int(page[0])] >= 0 {
          index[(position >> 8) - 1] = UInt16(uniform[Int(page[0])])
        } else {
          if isUniform { uniform[Int(page[0])] = bytes.count >> 8 }
          index[(position >> 8) - 1] = UInt16(bytes.count >> 8)
          bytes += page
        }
      }
    }
    precondition(position == 0x11_0000, "the category table covers \(position) code points")
    self.index = index
    pages = .allocate(capacity: bytes.count)
    pages.initialize(from: bytes, count: bytes.count)
  }

  /// The category of a code point below U+110000, as a bit: 1 << raw value.
  @inline(__always)
  func bit(_ codePoint: UInt32) -> UInt32 {
    1 &<< UInt32(pages[Int(index[Int(codePoint &>> 8)]) &<< 8 | Int(codePoint & 0xFF)])
  }

  /// The union of categories as a mask for `bit`.
  static func mask(_ categories: [GeneralCategory]) -> UInt32 {
    var mask: UInt32 = 0
    for category in categories {
      mask |= 1 << UInt32(category.rawValue)
      if category == .cc { mask |= 1 << UInt32(controlSpace) }
    }
    return mask
  }

  /// The category runs as ranges, in order.
  static func forEachRange(_ body: (GeneralCategory, ClosedRange<UInt32>) -> Void) {
    var position: UInt32 = 0
    CompactText.forEachRun(GeneralCategory.runs) { category, length in
      if let category = GeneralCategory(rawValue: category) {
        body(category, position...(position + UInt32(length) - 1))
      }
      position += UInt32(length)
    }
  }
}
