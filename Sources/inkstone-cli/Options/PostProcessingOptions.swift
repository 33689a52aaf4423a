import ArgumentParser
import Inkstone

/// What happens to a text before it is shown: nothing, unless a flag says so.
struct PostProcessingOptions: ParsableArguments {
  @Flag(
    help: """
      Clean the text up: the five steps below that take no value. A --no- form leaves one out. The text then comes \
      in one piece, and with --echo the prompt is part of it.
      """)
  var post = false

  @Flag(inversion: .prefixedNo, help: "Drop special tokens that the model spelled out in plain text.")
  var dropSpecialTokens: Bool?

  @Flag(
    inversion: .prefixedNo,
    help:
      "Tidy white space and the punctuation between Chinese characters; leave English, numbers and code alone."
  )
  var normalizeText: Bool?

  @Flag(inversion: .prefixedNo, help: "Keep one copy of what the end of the text repeats over and over.")
  var trimLoops: Bool?

  @Flag(inversion: .prefixedNo, help: "Drop sentences that were there before.")
  var dropRepeatedSentences: Bool?

  @Flag(inversion: .prefixedNo, help: "Cut what comes after the last whole sentence, if there is one.")
  var wholeSentences: Bool?

  @Option(
    help: ArgumentHelp(
      "Replace the words of a list by asterisks (UTF-8, one on each line, # begins a comment).",
      valueName: "path"))
  var maskWords: String?

  @Option(help: ArgumentHelp("Drop the words of a list.", valueName: "path"))
  var dropWords: String?

  @Option(help: ArgumentHelp("Break lines at n columns; Chinese characters take two.", valueName: "n"))
  var wrap: Int?

  func validate() throws {
    if let wrap, wrap < 2 { throw ValidationError("--wrap must be 2 or more, is \(wrap)") }
    guard !post else { return }
    for (name, flag) in switches where flag == false {
      throw ValidationError(
        "--no-\(name) leaves a step out of --post, which is not given; remove it or add --post")
    }
  }

  /// Whether a flag asks for anything.
  var isActive: Bool {
    post || switches.contains { $0.flag == true } || maskWords != nil || dropWords != nil || wrap != nil
  }

  private var switches: [(name: String, flag: Bool?)] {
    [
      ("drop-special-tokens", dropSpecialTokens), ("normalize-text", normalizeText),
      ("trim-loops", trimLoops),
      ("drop-repeated-sentences", dropRepeatedSentences), ("whole-sentences", wholeSentences),
    ]
  }

  /// The steps that need no model, with what they read from files.
  ///
  /// - Parameter keepsSpecialTokens: whether `--special` asks for what `--post` would drop.
  /// - Returns: what makes the whole, given the texts of the model's special tokens; `nil` if nothing is asked for.
  /// - Throws: `FileError` or `WordListError` for a list; `UsageError` for flags that contradict each other.
  func makeProcessor(keepsSpecialTokens: Bool) throws -> ((_ specialTokens: [String]) -> PostProcessor)? {
    if keepsSpecialTokens, dropSpecialTokens == true {
      throw UsageError("--special and --drop-special-tokens contradict each other; keep one")
    }
    guard isActive else { return nil }
    var steps: [any PostProcessingStep] = []
    if normalizeText ?? post { steps.append(TextNormalizer()) }
    if let dropWords { steps.append(WordFilter(try WordList.load(from: dropWords), action: .drop)) }
    if let maskWords { steps.append(WordFilter(try WordList.load(from: maskWords), action: .mask)) }
    if trimLoops ?? post { steps.append(LoopTrimmer()) }
    if dropRepeatedSentences ?? post { steps.append(RepeatedSentenceRemover()) }
    if wholeSentences ?? post { steps.append(WholeSentenceCutter()) }
    let dropsSpecialTokens = dropSpecialTokens ?? (post && !keepsSpecialTokens)
    let wrapper = wrap.map { LineWrapper(width: $0) }
    return { [steps] specialTokens in
      PostProcessor(
        (dropsSpecialTokens ? [SpecialTokenRemover(specialTokens)] : []) + steps, wrapper: wrapper)
    }
  }
}
