/// The characters that HTML has names for: those of HTML 4, and the few later ones that texts use.
enum HTMLEntities {
  /// The longest name.
  static let longestName = 9

  /// Name and code point.
  static let values: [String: UInt32] = {
    var out: [String: UInt32] = [
      "quot": 0x22, "amp": 0x26, "apos": 0x27, "lt": 0x3C, "gt": 0x3E, "QUOT": 0x22, "AMP": 0x26, "LT": 0x3C,
      "GT": 0x3E, "OElig": 0x152, "oelig": 0x153, "Scaron": 0x160, "scaron": 0x161, "Yuml": 0x178,
      "fnof": 0x192, "circ": 0x2C6, "tilde": 0x2DC, "thetasym": 0x3D1, "upsih": 0x3D2, "piv": 0x3D6,
      "ensp": 0x2002, "emsp": 0x2003, "thinsp": 0x2009, "zwnj": 0x200C, "zwj": 0x200D, "lrm": 0x200E,
      "rlm": 0x200F, "ndash": 0x2013, "mdash": 0x2014, "lsquo": 0x2018, "rsquo": 0x2019, "sbquo": 0x201A,
      "ldquo": 0x201C, "rdquo": 0x201D, "bdquo": 0x201E, "dagger": 0x2020, "Dagger": 0x2021, "bull": 0x2022,
      "hellip": 0x2026, "permil": 0x2030, "prime": 0x2032, "Prime": 0x2033, "lsaquo": 0x2039,
      "rsaquo": 0x203A, "oline": 0x203E, "frasl": 0x2044, "euro": 0x20AC, "image": 0x2111, "weierp": 0x2118,
      "real": 0x211C, "trade": 0x2122, "alefsym": 0x2135, "larr": 0x2190, "uarr": 0x2191, "rarr": 0x2192,
      "darr": 0x2193, "harr": 0x2194, "crarr": 0x21B5, "lArr": 0x21D0, "uArr": 0x21D1, "rArr": 0x21D2,
      "dArr": 0x21D3, "hArr": 0x21D4, "forall": 0x2200, "part": 0x2202, "exist": 0x2203, "empty": 0x2205,
      "nabla": 0x2207, "isin": 0x2208, "notin": 0x2209, "ni": 0x220B, "prod": 0x220F, "sum": 0x2211,
      "minus": 0x2212, "lowast": 0x2217, "radic": 0x221A, "prop": 0x221D, "infin": 0x221E, "ang": 0x2220,
      "and": 0x2227, "or": 0x2228, "cap": 0x2229, "cup": 0x222A, "int": 0x222B, "there4": 0x2234,
      "sim": 0x223C, "cong": 0x2245, "asymp": 0x2248, "ne": 0x2260, "equiv": 0x2261, "le": 0x2264,
      "ge": 0x2265, "sub": 0x2282, "sup": 0x2283, "nsub": 0x2284, "sube": 0x2286, "supe": 0x2287,
      "oplus": 0x2295, "otimes": 0x2297, "perp": 0x22A5, "sdot": 0x22C5, "lceil": 0x2308, "rceil": 0x2309,
      "lfloor": 0x230A, "rfloor": 0x230B, "lang": 0x27E8, "rang": 0x27E9, "loz": 0x25CA, "spades": 0x2660,
      "clubs": 0x2663, "hearts": 0x2665, "diams": 0x2666, "lbrace": 0x7B, "rbrace": 0x7D, "lbrack": 0x5B,
      "rbrack": 0x5D, "lpar": 0x28, "rpar": 0x29, "comma": 0x2C, "period": 0x2E, "colon": 0x3A, "semi": 0x3B,
      "excl": 0x21, "quest": 0x3F, "num": 0x23, "dollar": 0x24, "percnt": 0x25, "ast": 0x2A, "plus": 0x2B,
      "sol": 0x2F, "equals": 0x3D, "commat": 0x40, "bsol": 0x5C, "lowbar": 0x5F, "grave": 0x60, "vert": 0x7C,
      "check": 0x2713, "star": 0x2606, "starf": 0x2605, "Tab": 0x09, "NewLine": 0x0A, "hyphen": 0x2010,
    ]
    // U+00A0 to U+00FF in order.
    let latin = """
      nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 \
      acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml \
      Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde \
      Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig \
      ccedil egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide \
      oslash ugrave uacute ucirc uuml yacute thorn yuml
      """
    for (offset, name) in latin.split(separator: " ").enumerated() {
      out[String(name)] = 0xA0 + UInt32(offset)
    }
    let greek = """
      Alpha Beta Gamma Delta Epsilon Zeta Eta Theta Iota Kappa Lambda Mu Nu Xi Omicron Pi Rho - Sigma Tau Upsilon \
      Phi Chi Psi Omega
      """
    for (offset, name) in greek.split(separator: " ").enumerated() where name != "-" {
      out[String(name)] = 0x391 + UInt32(offset)
      out[name.lowercased()] = 0x3B1 + UInt32(offset)
    }
    out["sigmaf"] = 0x3C2
    return out
  }()

  /// What Windows-1252 has at the code points that numeric references use by mistake, as HTML 5 reads them.
  private static let windows: [UInt32] = [
    0x20AC, 0x81, 0x201A, 0x192, 0x201E, 0x2026, 0x2020, 0x2021, 0x2C6, 0x2030, 0x160, 0x2039, 0x152, 0x8D,
    0x17D, 0x8F, 0x90, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x2DC, 0x2122, 0x161, 0x203A,
    0x153, 0x9D, 0x17E, 0x178,
  ]

  /// The character of a reference that begins at `&`, and the reference's length; `nil` when it is none.
  static func reference(_ text: UnsafeBufferPointer<UInt8>, _ start: Int) -> (value: UInt32, length: Int)? {
    var at = start + 1
    guard at < text.count else { return nil }
    if text[at] == UInt8(ascii: "#") {
      at += 1
      var radix: UInt32 = 10
      if at < text.count, text[at] | 0x20 == UInt8(ascii: "x") {
        radix = 16
        at += 1
      }
      let first = at
      var value: UInt32 = 0
      while at < text.count, at - first < 8, let digit = digit(text[at], radix) {
        value = min(value &* radix &+ digit, 0x11_0000)
        at += 1
      }
      guard at > first, at < text.count, text[at] == UInt8(ascii: ";") else { return nil }
      if value >= 0x80, value < 0xA0 { value = windows[Int(value - 0x80)] }
      guard value > 0, value < 0x11_0000, !(0xD800...0xDFFF).contains(value) else {
        return (0xFFFD, at + 1 - start)
      }
      return (value, at + 1 - start)
    }
    let first = at
    while at < text.count, at - first <= longestName, digit(text[at], 36) != nil { at += 1 }
    guard at > first, at < text.count, text[at] == UInt8(ascii: ";") else { return nil }
    let name = String(decoding: text[first..<at], as: UTF8.self)
    return values[name].map { ($0, at + 1 - start) }
  }

  private static func digit(_ byte: UInt8, _ radix: UInt32) -> UInt32? {
    let value: UInt32
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): value = UInt32(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "z"): value = UInt32(byte - UInt8(ascii: "a")) + 10
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = UInt32(byte - UInt8(ascii: "A")) + 10
    default: return nil
    }
    return value < radix ? value : nil
  }
}
