/// Guesses what follows a sequence, so that a model can look at several tokens in one pass.
///
/// A guess costs time when it is wrong and nothing else: every token is chosen from the model's own scores, by the same rules
/// and with the same draw as without guesses, and a guess counts only where it is the token chosen.
public protocol Drafter: AnyObject {
  /// Guesses the next tokens.
  ///
  /// - Parameters:
  ///   - history: prompt and output so far.
  ///   - limit: the most tokens that are of use, at least 1.
  /// - Returns: up to `limit` tokens, or none.
  func draft(_ history: UnsafeBufferPointer<Int32>, limit: Int) throws -> [Int]
}

/// A session whose single row takes several tokens at once and gives the last ones back.
public protocol DraftingSession: DecodingSession {
  /// Tokens that may be appended at once and taken back, each with the scores that it gets alone.
  var draftLimit: Int { get }

  /// Positions filled.
  var length: Int { get }

  /// Appends tokens that follow one another.
  ///
  /// - Returns: (tokens, V) logits for the token after each.
  func extend(_ tokens: [Int]) throws -> UnsafeMutableBufferPointer<Float>

  /// Takes back the tokens from a length on, as many as one `extend` has appended.
  func takeBack(to length: Int)
}

/// Decodes one prompt with guesses: each pass runs the token chosen last and the guesses after it.
///
/// Guessing beyond what comes out is paid for, so drafts get shorter where they fail and longer where they hold.
///
/// - Parameter logits: (V) after the prompt.
func decode(
  _ run: TokenRun, session: any DraftingSession, drafter: any Drafter,
  logits first: UnsafeMutableBufferPointer<Float>
) throws -> DecodingOutcome {
  let vocabularySize = session.vocabularySize
  var counts = SpeculationCounts()
  var logits = first.baseAddress!
  var draft: [Int] = []
  var input: [Int] = []
  /// Tokens that are worth guessing; the session and the drafter have limits of their own.
  var reach = 64
  func finish() -> DecodingOutcome {
    var outcome = run.outcome
    outcome.speculation = counts
    return outcome
  }

  while true {
    guard !run.interrupt() else { return finish() }
    // Row i of the logits follows the first i tokens of the draft.
    var accepted = 0
    var last = 0
    while true {
      let (token, ends) = try run.takeOne(logits + accepted * vocabularySize)
      let isHit = accepted < draft.count && token == draft[accepted]
      if isHit {
        accepted += 1
        counts.accepted += 1
      }
      guard !ends else { return finish() }
      last = token
      guard isHit, !run.interrupt() else { break }
    }
    if !draft.isEmpty {
      if accepted < draft.count { session.takeBack(to: session.length - (draft.count - accepted)) }
      reach = accepted == draft.count ? min(64, 2 * max(reach, 1)) : accepted + 1
    }

    let limit = min(session.draftLimit - 1, reach)
    draft = limit > 0 ? try drafter.draft(run.history, limit: limit) : []
    counts.drafted += draft.count
    input.removeAll(keepingCapacity: true)
    input.append(last)
    input.append(contentsOf: draft)
    logits = try session.extend(input).baseAddress!
    run.countStep()
  }
}
