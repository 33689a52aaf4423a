import CPCRE2

/// A regular expression as `tokenizers` declares it (Oniguruma's syntax), compiled once by PCRE2 with JIT.
///
/// Compiled code is read-only and shared between threads; what a match writes to is a `RegexScratch`.
final class Regex: @unchecked Sendable {
  let pattern: String
  private let file: String
  private let code: OpaquePointer

  /// Translates and compiles a pattern.
  ///
  /// - Throws: `TokenizerError.pattern` when it is malformed or uses what cannot be translated exactly.
  init(_ pattern: String, file: String) throws {
    self.pattern = pattern
    self.file = file
    let translated: String
    do {
      translated = try RegexTranslation.translate(pattern)
    } catch {
      throw TokenizerError.pattern(file: file, pattern: pattern, reason: error.reason)
    }
    do {
      code = try Regex.compile(translated)
    } catch {
      throw TokenizerError.pattern(file: file, pattern: pattern, reason: error.reason)
    }
  }

  deinit { pcre2_code_free_8(code) }

  /// Compiles a pattern in PCRE2's own syntax.
  static func compile(_ pattern: String) throws(RegexTranslation.Failure) -> OpaquePointer {
    let context = pcre2_compile_context_create_8(nil)
    defer { pcre2_compile_context_free_8(context) }
    pcre2_set_newline_8(context, UInt32(PCRE2_NEWLINE_LF))
    var number: Int32 = 0
    var offset = 0
    var pattern = pattern
    let code = pattern.withUTF8 {
      pcre2_compile_8(
        $0.baseAddress, $0.count, UInt32(PCRE2_UTF) | UInt32(PCRE2_UCP) | UInt32(PCRE2_MULTILINE), &number,
        &offset, context)
    }
    guard let code else { throw RegexTranslation.Failure(reason: message(number)) }
    // Without JIT (an unusual build or CPU) the interpreter gives the same matches.
    _ = pcre2_jit_compile_8(code, UInt32(PCRE2_JIT_COMPLETE))
    return code
  }

  /// Calls the body with the bounds of each match, left to right, as Oniguruma's `find_iter` yields them: an
  /// empty match right after the last one is passed over.
  ///
  /// - Parameter text: valid UTF-8 (not checked again); look-around sees nothing outside it.
  /// - Throws: `TokenizerError.unencodable` when PCRE2 gives up on the text.
  func forEachMatch(
    in text: UnsafeBufferPointer<UInt8>, scratch: RegexScratch, _ body: (Int, Int) -> Void
  ) throws {
    guard let base = text.baseAddress else { return }
    var from = 0
    var lastEnd = -1
    while from <= text.count {
      let status = pcre2_match_8(
        code, base, text.count, from, UInt32(PCRE2_NO_UTF_CHECK), scratch.data, scratch.context)
      if status == PCRE2_ERROR_NOMATCH { return }
      guard status >= 0 else {
        throw TokenizerError.unencodable(
          reason: "the pattern \(pattern) of \(file) gave up: \(Regex.message(status))")
      }
      let bounds = pcre2_get_ovector_pointer_8(scratch.data)!
      let start = bounds[0]
      let end = bounds[1]
      guard start <= end else { return }
      if start == end, end == lastEnd {
        from += from < text.count ? UTF8Bytes.scalar(base, from).length : 1
        continue
      }
      body(start, end)
      from = end
      lastEnd = end
    }
  }

  private static func message(_ number: Int32) -> String {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { buffer in
      guard pcre2_get_error_message_8(number, buffer.baseAddress, 256) > 0 else { return "error \(number)" }
      return String(cString: buffer.baseAddress!)
    }
  }
}

/// What matching writes to: not shared between threads.
final class RegexScratch {
  fileprivate let data: OpaquePointer
  fileprivate let context: OpaquePointer
  private let stack: OpaquePointer?

  init() {
    // One pair: only the bounds of the whole match are asked for.
    data = pcre2_match_data_create_8(1, nil)!
    context = pcre2_match_context_create_8(nil)!
    // A pattern with nested repeats needs more than JIT's 32 KiB on long words; pages are used on demand.
    stack = pcre2_jit_stack_create_8(32 << 10, 64 << 20, nil)
    if let stack { pcre2_jit_stack_assign_8(context, nil, UnsafeMutableRawPointer(stack)) }
    pcre2_set_match_limit_8(context, .max)
  }

  deinit {
    pcre2_match_data_free_8(data)
    pcre2_match_context_free_8(context)
    if let stack { pcre2_jit_stack_free_8(stack) }
  }
}
