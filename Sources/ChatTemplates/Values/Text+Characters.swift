// What Python's `str` knows of characters, by the Unicode tables of the Swift library.

extension Text {
  private static func properties(_ point: UInt32) -> Unicode.Scalar.Properties? {
    Unicode.Scalar(point)?.properties
  }

  static func isAlphabetic(_ point: UInt32) -> Bool {
    if point < 0x80 { return (0x41...0x5A).contains(point & ~0x20) }
    switch properties(point)?.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: return true
    default: return false
    }
  }

  static func isDecimal(_ point: UInt32) -> Bool { properties(point)?.numericType == .decimal }

  static func isDigit(_ point: UInt32) -> Bool {
    switch properties(point)?.numericType {
    case .decimal, .digit: true
    default: false
    }
  }

  static func isNumeric(_ point: UInt32) -> Bool { properties(point)?.numericType != nil }

  static func isAlphanumeric(_ point: UInt32) -> Bool { isAlphabetic(point) || isNumeric(point) }

  /// A character of `\w`.
  static func isWord(_ point: UInt32) -> Bool { point == 0x5F || isAlphanumeric(point) }

  static func isUppercase(_ point: UInt32) -> Bool { properties(point)?.isUppercase ?? false }

  static func isLowercase(_ point: UInt32) -> Bool { properties(point)?.isLowercase ?? false }

  static func isTitlecase(_ point: UInt32) -> Bool { properties(point)?.generalCategory == .titlecaseLetter }

  static func isCased(_ point: UInt32) -> Bool { properties(point)?.isCased ?? false }

  /// Whether `repr` shows the character itself.
  static func isPrintable(_ point: UInt32) -> Bool {
    if point < 0x7F { return point >= 0x20 }
    switch properties(point)?.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator,
      .spaceSeparator, nil:
      return false
    default: return true
    }
  }

  private static func appendMapping(_ mapping: String?, of point: UInt32, to bytes: inout [UInt8]) {
    if let mapping { bytes += Array(mapping.utf8) } else { append(point, to: &bytes) }
  }

  var uppercased: Text {
    if isASCII {
      return Text(bytes: bytes.map { (0x61...0x7A).contains($0) ? $0 & ~0x20 : $0 }, isMarkup: isMarkup)
    }
    var out: [UInt8] = []
    for point in codePoints {
      Text.appendMapping(Text.properties(point)?.uppercaseMapping, of: point, to: &out)
    }
    return Text(bytes: out, isMarkup: isMarkup)
  }

  var lowercased: Text {
    if isASCII {
      return Text(bytes: bytes.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }, isMarkup: isMarkup)
    }
    let points = codePoints
    var out: [UInt8] = []
    for index in points.indices { Text.appendLowercase(points, index, to: &out) }
    return Text(bytes: out, isMarkup: isMarkup)
  }

  /// The lower case of a character, which for a sigma depends on whether it ends a word.
  private static func appendLowercase(_ points: [UInt32], _ index: Int, to bytes: inout [UInt8]) {
    let point = points[index]
    if point == 0x3A3 {
      let before = points[..<index].last { !(properties($0)?.isCaseIgnorable ?? false) }
      let after = points[(index + 1)...].first { !(properties($0)?.isCaseIgnorable ?? false) }
      append(before.map(isCased) == true && after.map(isCased) != true ? 0x3C2 : 0x3C3, to: &bytes)
    } else {
      appendMapping(properties(point)?.lowercaseMapping, of: point, to: &bytes)
    }
  }

  /// `str.capitalize`: the first character as a title begins, all others small.
  var capitalized: Text {
    let points = codePoints
    var out: [UInt8] = []
    for (index, point) in points.enumerated() {
      if index == 0 {
        Text.appendMapping(Text.properties(point)?.titlecaseMapping, of: point, to: &out)
      } else {
        Text.appendLowercase(points, index, to: &out)
      }
    }
    return Text(bytes: out, isMarkup: isMarkup)
  }

  /// `str.title`: every run of cased characters begins large.
  var titled: Text {
    let points = codePoints
    var out: [UInt8] = []
    var followsCased = false
    for (index, point) in points.enumerated() {
      if followsCased {
        Text.appendLowercase(points, index, to: &out)
      } else {
        Text.appendMapping(Text.properties(point)?.titlecaseMapping, of: point, to: &out)
      }
      followsCased = Text.isCased(point)
    }
    return Text(bytes: out, isMarkup: isMarkup)
  }

  /// `str.swapcase`.
  var caseSwapped: Text {
    let points = codePoints
    var out: [UInt8] = []
    for (index, point) in points.enumerated() {
      if Text.isUppercase(point) {
        Text.appendLowercase(points, index, to: &out)
      } else if Text.isLowercase(point) {
        Text.appendMapping(Text.properties(point)?.uppercaseMapping, of: point, to: &out)
      } else {
        Text.append(point, to: &out)
      }
    }
    return Text(bytes: out, isMarkup: isMarkup)
  }

  /// `str.isupper` and, mirrored, `str.islower`.
  func isCase(_ isWanted: (UInt32) -> Bool, without isUnwanted: (UInt32) -> Bool) -> Bool {
    var found = false
    for point in codePoints {
      if isUnwanted(point) || Text.isTitlecase(point) { return false }
      if isWanted(point) { found = true }
    }
    return found
  }

  var isUppercase: Bool { isCase(Text.isUppercase, without: Text.isLowercase) }

  var isLowercase: Bool { isCase(Text.isLowercase, without: Text.isUppercase) }

  /// `str.istitle`.
  var isTitlecase: Bool {
    var (found, followsCased) = (false, false)
    for point in codePoints {
      if Text.isUppercase(point) || Text.isTitlecase(point) {
        if followsCased { return false }
        (followsCased, found) = (true, true)
      } else if Text.isLowercase(point) {
        if !followsCased { return false }
        found = true
      } else {
        followsCased = false
      }
    }
    return found
  }

  /// `str.isidentifier`.
  var isIdentifier: Bool {
    let points = codePoints
    guard let first = points.first else { return false }
    guard first == 0x5F || Text.properties(first)?.isXIDStart == true else { return false }
    return points.dropFirst().allSatisfy { Text.properties($0)?.isXIDContinue == true }
  }

  /// Whether there are characters and all are of a kind, as the `str.is…` methods ask.
  func isAll(_ predicate: (UInt32) -> Bool) -> Bool { !isEmpty && codePoints.allSatisfy(predicate) }

  /// `str.splitlines`.
  func lines(keepingEnds: Bool = false) -> [Text] {
    var lines: [Text] = []
    var (start, offset) = (0, 0)
    while offset < bytes.count {
      let (point, length) = Text.codePoint(bytes, at: offset)
      guard Text.isLineEnd(point) else {
        offset += length
        continue
      }
      var end = offset + length
      if point == 0x0D, end < bytes.count, bytes[end] == 0x0A { end += 1 }
      lines.append(Text(bytes[start..<(keepingEnds ? end : offset)], isMarkup: isMarkup))
      (start, offset) = (end, end)
    }
    if start < bytes.count { lines.append(Text(bytes[start...], isMarkup: isMarkup)) }
    return lines
  }
}
