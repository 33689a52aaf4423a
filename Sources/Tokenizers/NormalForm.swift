/// Unicode's normal forms, with the character data of `tokenizers`.
///
/// - SeeAlso: Unicode Standard Annex #15.
enum NormalForm: String, Sendable {
  case nfc = "NFC"
  case nfd = "NFD"
  case nfkc = "NFKC"
  case nfkd = "NFKD"

  var composes: Bool { self == .nfc || self == .nfkc }
  var isCompatible: Bool { self == .nfkc || self == .nfkd }

  /// Lower-case mappings beyond ASCII.
  static let lowercase: [UInt32: [UInt32]] = {
    var out: [UInt32: [UInt32]] = [:]
    CompactText.forEachMapping(UnicodeMappings.lowercase) { out[$0] = $1 }
    return out
  }()

  /// The text in this form; `nil` when it is in it already.
  ///
  /// - Complexity: O(bytes); text of inert characters costs one bit look-up each.
  func apply(to text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
    guard let base = text.baseAddress else { return nil }
    let data = NormalizationData.shared
    let active = data.active(self)
    var out: [UInt8] = []
    var copied = 0
    var previous = 0  // start of the last inert character: a mark may compose with it
    var at = 0
    while at < text.count {
      if text[at] < 0x80 {
        previous = at
        at += 1
        continue
      }
      let (value, length) = UTF8Bytes.scalar(base, at)
      guard active.contains(value) else {
        previous = at
        at += length
        continue
      }
      // A stretch that may change: from the character before to the next inert one.
      let start = max(previous, copied)
      var end = at + length
      while end < text.count {
        let (value, length) = UTF8Bytes.scalar(base, end)
        guard active.contains(value) else { break }
        end += length
      }
      out.append(contentsOf: text[copied..<start])
      data.append(text[start..<end], self, to: &out)
      copied = end
      previous = end
      at = end
    }
    if copied == 0 { return nil }
    out.append(contentsOf: text[copied...])
    return out
  }
}

/// A set of code points as a bitmap, for look-ups per character.
struct CodePointBitmap: Sendable {
  private var words: [UInt64]

  init(_ values: some Sequence<UInt32>) {
    words = []
    for value in values {
      let word = Int(value >> 6)
      if word >= words.count { words += [UInt64](repeating: 0, count: word + 1 - words.count) }
      words[word] |= 1 << UInt64(value & 63)
    }
  }

  @inline(__always)
  func contains(_ value: UInt32) -> Bool {
    let word = Int(value &>> 6)
    return words.withUnsafeBufferPointer { $0.count > word && $0[word] &>> UInt64(value & 63) & 1 != 0 }
  }
}

/// Decompositions, compositions and combining classes, decoded from the generated tables on first use.
private final class NormalizationData: Sendable {
  static let shared = NormalizationData()

  private static let hangulBase: UInt32 = 0xAC00
  private static let hangulCount: UInt32 = 11172

  private let canonical: [UInt32: [UInt32]]
  private let compatible: [UInt32: [UInt32]]
  private let compositions: [UInt64: UInt32]
  private let classes: [UInt32: UInt8]
  private let activeSets: [NormalForm: CodePointBitmap]

  private init() {
    var canonical: [UInt32: [UInt32]] = [:]
    CompactText.forEachMapping(UnicodeMappings.canonical) { canonical[$0] = $1 }
    var compatible: [UInt32: [UInt32]] = [:]
    CompactText.forEachMapping(UnicodeMappings.compatible) { compatible[$0] = $1 }
    let excluded = CodePointSet([], adding: UnicodeMappings.excluded)
    var classes: [UInt32: UInt8] = [:]
    let numbers = CompactText.numbers(UnicodeMappings.combiningClasses)
    var position = 0
    for entry in 0..<(numbers.count / 3) {
      let start = position + numbers[3 * entry]
      position = start + numbers[3 * entry + 1]
      for value in start..<position { classes[UInt32(value)] = UInt8(numbers[3 * entry + 2]) }
    }

    // The tables hold full decompositions; a composition joins the character that all but the last element
    // compose to with the last. Shorter ones come first, so that each prefix is known when it is needed.
    var compositions: [UInt64: UInt32] = [:]
    var wholes: [[UInt32]: UInt32] = [:]
    for (value, parts) in canonical.sorted(by: { ($0.value.count, $0.key) < ($1.value.count, $1.key) })
    where !excluded.contains(value) && parts.count > 1 {
      let prefix = Array(parts.dropLast())
      guard let first = prefix.count == 1 ? prefix[0] : wholes[prefix] else { continue }
      compositions[UInt64(first) << 32 | UInt64(parts[parts.count - 1])] = value
      wholes[parts] = value
    }

    let hangul = Array(
      NormalizationData.hangulBase..<(NormalizationData.hangulBase + NormalizationData.hangulCount))
    let marks = Array(classes.keys)
    let seconds = compositions.keys.map { UInt32(truncatingIfNeeded: $0) }
    let vowels = Array(UInt32(0x1161)...0x1175) + Array(UInt32(0x11A8)...0x11C2)
    let broken = canonical.keys.filter { excluded.contains($0) }
    activeSets = [
      .nfc: CodePointBitmap(marks + seconds + vowels + broken),
      .nfkc: CodePointBitmap(marks + seconds + vowels + broken + Array(compatible.keys)),
      .nfd: CodePointBitmap(marks + Array(canonical.keys) + hangul),
      .nfkd: CodePointBitmap(marks + Array(canonical.keys) + Array(compatible.keys) + hangul),
    ]
    self.canonical = canonical
    self.compatible = compatible
    self.compositions = compositions
    self.classes = classes
  }

  /// Characters that a form may change, reorder or compose with what is before them.
  func active(_ form: NormalForm) -> CodePointBitmap { activeSets[form]! }

  /// Appends a stretch of text in a normal form.
  func append(_ text: Slice<UnsafeBufferPointer<UInt8>>, _ form: NormalForm, to out: inout [UInt8]) {
    let text = UnsafeBufferPointer(rebasing: text)
    var scalars: [(value: UInt32, order: UInt8)] = []
    var at = 0
    while at < text.count {
      let (value, length) = UTF8Bytes.scalar(text.baseAddress!, at)
      decompose(value, form, into: &scalars)
      at += length
    }
    sort(&scalars)
    if form.composes { compose(&scalars) }
    for scalar in scalars { UTF8Bytes.append(scalar.value, to: &out) }
  }

  private func decompose(_ value: UInt32, _ form: NormalForm, into out: inout [(value: UInt32, order: UInt8)])
  {
    let syllable = value &- NormalizationData.hangulBase
    if syllable < NormalizationData.hangulCount {
      out.append((0x1100 + syllable / 588, 0))
      out.append((0x1161 + syllable % 588 / 28, 0))
      if syllable % 28 > 0 { out.append((0x11A7 + syllable % 28, 0)) }
    } else if let parts = form.isCompatible ? compatible[value] ?? canonical[value] : canonical[value] {
      for part in parts { out.append((part, classes[part] ?? 0)) }
    } else {
      out.append((value, classes[value] ?? 0))
    }
  }

  /// Sorts each run of marks by combining class, equal ones left in place.
  private func sort(_ scalars: inout [(value: UInt32, order: UInt8)]) {
    var start = 0
    while start < scalars.count {
      var end = start
      while end < scalars.count, scalars[end].order != 0 { end += 1 }
      if end - start > 1 {
        let sorted = scalars[start..<end].enumerated().sorted {
          ($0.element.order, $0.offset) < ($1.element.order, $1.offset)
        }
        scalars.replaceSubrange(start..<end, with: sorted.map(\.element))
      }
      start = end + 1
    }
  }

  private func compose(_ scalars: inout [(value: UInt32, order: UInt8)]) {
    var starter = -1
    var kept = 0
    var lastOrder = -1  // of what was kept after the starter; -1 when nothing was
    for index in scalars.indices {
      let scalar = scalars[index]
      if starter >= 0, lastOrder < Int(scalar.order) || lastOrder == -1,
        let whole = composed(scalars[starter].value, scalar.value)
      {
        scalars[starter].value = whole
        continue
      }
      if scalar.order == 0 {
        starter = kept
        lastOrder = -1
      } else {
        lastOrder = Int(scalar.order)
      }
      scalars[kept] = scalar
      kept += 1
    }
    scalars.removeLast(scalars.count - kept)
  }

  private func composed(_ first: UInt32, _ second: UInt32) -> UInt32? {
    if (0x1100..<0x1113).contains(first), (0x1161..<0x1176).contains(second) {
      return NormalizationData.hangulBase + ((first - 0x1100) * 21 + second - 0x1161) * 28
    }
    let syllable = first &- NormalizationData.hangulBase
    if syllable < NormalizationData.hangulCount, syllable % 28 == 0, (0x11A8..<0x11C3).contains(second) {
      return first + second - 0x11A7
    }
    return compositions[UInt64(first) << 32 | UInt64(second)]
  }

}
