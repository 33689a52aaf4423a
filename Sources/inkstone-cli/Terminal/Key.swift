/// A key, as a terminal reports it.
enum Key: Equatable {
  /// A character that is typed, composed ones whole or in parts.
  case text(String)
  /// What was pasted at once.
  case paste(String)
  case enter
  /// A line end within the message: Alt-Enter or Ctrl-J.
  case newline
  case backspace, delete
  case left, right, up, down, home, end, wordLeft, wordRight
  /// A letter with Ctrl.
  case control(Character)
}

/// Turns the bytes of a terminal into keys.
///
/// - SeeAlso: ECMA-48, and xterm's control sequences for the keys and for bracketed paste.
struct KeyDecoder {
  private enum State {
    case plain
    /// After ESC.
    case escape
    /// After `ESC [`, with what came since.
    case sequence([UInt8])
    /// After `ESC O`.
    case function
    /// Within a bracketed paste.
    case paste([UInt8])
    /// Within a character, with the bytes that are still to come.
    case character([UInt8], missing: Int)
  }

  private var state = State.plain
  private static let pasteEnd = Array("\u{1B}[201~".utf8)
  /// The longest control sequence that is waited for.
  private static let maximumSequence = 32

  /// Whether an ESC has come that may be the key itself or begin a sequence: a little later it is the key.
  var isUndecided: Bool {
    if case .escape = state { true } else { false }
  }

  /// Says that nothing followed an ESC.
  mutating func giveUpSequence() { if isUndecided { state = .plain } }

  /// Takes one byte.
  mutating func take(_ byte: UInt8) -> Key? {
    switch state {
    case .plain: return takePlain(byte)
    case .escape: return takeAfterEscape(byte)
    case .function:
      state = .plain
      return KeyDecoder.arrow(byte)
    case .sequence(var bytes):
      // A final byte ends the sequence.
      if (0x40...0x7E).contains(byte) {
        state = .plain
        return finish(String(decoding: bytes, as: UTF8.self), byte)
      }
      bytes.append(byte)
      state = bytes.count > Self.maximumSequence ? .plain : .sequence(bytes)
      return nil
    case .paste(var bytes):
      // Emptied while the bytes are changed, so that they are not copied.
      state = .plain
      bytes.append(byte)
      if byte == Self.pasteEnd.last, bytes.suffix(Self.pasteEnd.count).elementsEqual(Self.pasteEnd) {
        bytes.removeLast(Self.pasteEnd.count)
        return .paste(String(decoding: bytes, as: UTF8.self))
      }
      state = .paste(bytes)
      return nil
    case .character(var bytes, let missing):
      guard byte & 0xC0 == 0x80 else {
        // Broken off; this byte begins anew.
        state = .plain
        return takePlain(byte)
      }
      bytes.append(byte)
      state = missing > 1 ? .character(bytes, missing: missing - 1) : .plain
      return missing > 1 ? nil : .text(String(decoding: bytes, as: UTF8.self))
    }
  }

  private mutating func takePlain(_ byte: UInt8) -> Key? {
    switch byte {
    case 0x1B:
      state = .escape
      return nil
    case 0x0D: return .enter
    case 0x0A: return .newline
    case 0x08, 0x7F: return .backspace
    case 0x09: return .text("\t")
    case 0x01...0x1A: return .control(Character(Unicode.Scalar(byte + 0x40)))
    case 0x20..<0x7F: return .text(String(Character(Unicode.Scalar(byte))))
    case 0xC2...0xDF: state = .character([byte], missing: 1)
    case 0xE0...0xEF: state = .character([byte], missing: 2)
    case 0xF0...0xF4: state = .character([byte], missing: 3)
    default: break
    }
    return nil
  }

  private mutating func takeAfterEscape(_ byte: UInt8) -> Key? {
    state = .plain
    switch byte {
    case 0x5B: state = .sequence([])
    case 0x4F: state = .function
    case 0x1B: state = .escape
    case 0x0D, 0x0A: return .newline
    case 0x62: return .wordLeft
    case 0x66: return .wordRight
    case 0x7F: return .control("W")
    default: break
    }
    return nil
  }

  private static func arrow(_ byte: UInt8) -> Key? {
    switch byte {
    case 0x41: .up
    case 0x42: .down
    case 0x43: .right
    case 0x44: .left
    case 0x46: .end
    case 0x48: .home
    default: nil
    }
  }

  private mutating func finish(_ parameters: String, _ final: UInt8) -> Key? {
    if final == 0x7E {
      switch parameters.split(separator: ";").first {
      case "1", "7": return .home
      case "3": return .delete
      case "4", "8": return .end
      case "200":
        state = .paste([])
        return nil
      default: return nil
      }
    }
    // With Ctrl (5) or Alt (3), the arrows go by words.
    let modifier = parameters.split(separator: ";").last
    if parameters.contains(";"), modifier == "5" || modifier == "3" {
      if final == 0x44 { return .wordLeft }
      if final == 0x43 { return .wordRight }
    }
    return KeyDecoder.arrow(final)
  }
}
