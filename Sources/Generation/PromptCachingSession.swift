import Checkpoints
import Transformer

/// A session that takes what it can of a prompt from a file, and leaves there what it had to run.
public final class PromptCachingSession: DraftingSession {
  private let session: InferenceSession
  private let path: String
  /// Tokens of the last prompt that did not have to be run.
  public private(set) var reusedCount = 0
  /// Why the file was of no use for the last prompt, where it was not.
  public private(set) var obstacle: PromptCacheFile.Obstacle?

  /// Takes over a session, which nobody else uses from then on.
  ///
  /// - Throws: `PromptCacheError.notACache` for a file that is something else, and is not to be replaced; `FileError`.
  public init(_ session: InferenceSession, path: String) throws {
    self.session = session
    self.path = path
    if try fileStatus(path) != nil, try !PromptCacheFile.recognises(path) {
      throw PromptCacheError.notACache(path: path)
    }
  }

  /// Tokens that the model scores, V.
  public var vocabularySize: Int { session.vocabularySize }
  /// Positions that the session can hold.
  public var contextLength: Int { session.contextLength }
  /// Sequences that are decoded side by side at the moment.
  public var rowCount: Int { session.rowCount }
  /// Positions filled.
  public var length: Int { session.length }
  /// Tokens that may be appended at once and taken back.
  public var draftLimit: Int { session.draftLimit }

  /// Runs what of a prompt the file does not have, and writes the file anew where it had less than all.
  ///
  /// - Throws: as `InferenceSession`; `FileError` where the file cannot be read or written.
  public func prefill(_ prompt: [Int]) throws -> UnsafeMutableBufferPointer<Float> {
    session.reset()
    (reusedCount, obstacle) = (0, nil)
    var isKnown = false
    if try fileStatus(path) != nil {
      do {
        reusedCount = try session.restoreCache(of: prompt, from: path)
        isKnown = reusedCount == prompt.count - 1
      } catch let error as PromptCacheFile.Obstacle {
        obstacle = error
      }
    }
    let logits = try session.append(Array(prompt[reusedCount...]))
    // All but the last token is as good as all: that one is run in any case.
    if !isKnown { try session.saveCache(of: prompt, to: path) }
    return logits
  }

  /// Makes row *i* continue from what was row `parents[i]`.
  public func select(parents: [Int]) { session.select(parents: parents) }

  /// Appends one token to every row.
  public func step(_ tokens: [Int]) throws -> UnsafeMutableBufferPointer<Float> { try session.step(tokens) }

  /// Appends tokens that follow one another.
  public func extend(_ tokens: [Int]) throws -> UnsafeMutableBufferPointer<Float> {
    try session.extend(tokens)
  }

  /// Takes back the tokens from a length on.
  public func takeBack(to length: Int) { session.takeBack(to: length) }
}

/// Why a file cannot serve as a prompt cache.
public enum PromptCacheError: Error, Equatable, CustomStringConvertible {
  /// It is something else.
  case notACache(path: String)

  /// One line with the fix.
  public var description: String {
    switch self {
    case .notACache(let path):
      "\(path): is not a prompt cache, and would be replaced by one; choose another name for --prompt-cache"
    }
  }
}
