import Checkpoints

/// Words to mask or drop.
public struct WordList: Sendable, Equatable {
  /// The words, in the order given, without white space around them.
  public let words: [String]

  /// Makes a list; white space around a word is left out, and what is empty then is passed over.
  public init(_ words: [String]) {
    self.words = words.map(WordList.trimmed).filter { !$0.isEmpty }
  }

  /// Reads a list from a file: UTF-8, a word or phrase on each line; blank lines and those that begin with `#` are
  /// passed over.
  ///
  /// - Throws: `FileError` when the file cannot be read; `WordListError` when it is not UTF-8, with the line, or
  ///   holds no word.
  public static func load(from path: String) throws -> WordList {
    var bytes = try readFile(path, limit: 1 << 26)[...]
    // Windows tools begin UTF-8 files with a byte-order mark.
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes = bytes.dropFirst(3) }
    var words: [String] = []
    var number = 0
    for line in bytes.split(omittingEmptySubsequences: false, whereSeparator: { $0 == 0x0A }) {
      number += 1
      guard let text = String(validating: line, as: UTF8.self) else {
        throw WordListError.invalidUTF8(path: path, line: number)
      }
      let word = trimmed(text)
      if !word.isEmpty, word.unicodeScalars.first != "#" { words.append(word) }
    }
    guard !words.isEmpty else { throw WordListError.noWords(path: path) }
    return WordList(words)
  }

  private static func trimmed(_ text: String) -> String {
    let isBlank = { (character: Character) in
      character.unicodeScalars.allSatisfy { $0.isHorizontalSpace || $0.isLineEnd || $0.isInvisible }
    }
    guard let first = text.firstIndex(where: { !isBlank($0) }),
      let last = text.lastIndex(where: { !isBlank($0) })
    else { return "" }
    return String(text[first...last])
  }
}

/// Why a file is no word list.
public enum WordListError: Error, Equatable, CustomStringConvertible {
  /// Bytes that are not UTF-8.
  case invalidUTF8(path: String, line: Int)
  /// Comments and blank lines at most.
  case noWords(path: String)

  /// One line that names the file, the line and the fix.
  public var description: String {
    switch self {
    case .invalidUTF8(let path, let line): "\(path): line \(line) is not UTF-8; save the word list as UTF-8"
    case .noWords(let path): "\(path): the word list holds no words; write one on each line"
    }
  }
}
