import Checkpoints

/// How documents become token files.
public struct PackConfiguration: Sendable, Equatable {
  /// Which documents are kept for validation.
  public enum Split: String, Sendable, CaseIterable {
    /// Those whose text has a small hash: the same ones whatever the order and whatever else is packed.
    case hash
    /// The end of the text, cut between two characters: nanoGPT's split.
    case tail
  }

  /// The part of the documents (`.hash`) or of the characters (`.tail`) kept for validation, from 0 to below 1.
  public var validationFraction = 0.05
  /// Whether it is an error that the fraction is not 0 and nothing is kept back: few documents may all have
  /// large hashes.
  public var requiresValidation = true
  /// Which they are.
  public var split = Split.hash
  /// The token that ends each document; `nil` for none.
  public var endOfText: Int?

  /// The usual settings, without a token between documents.
  public init() {}
}

/// Why documents cannot be packed.
public enum PackError: Error, Equatable, CustomStringConvertible {
  /// One side of the split has no document.
  case emptySplit(training: Bool, documents: Int, fraction: Double)
  /// The whole text must be read twice, and a pipe cannot be.
  case tailOfPipe
  /// The text changed between the two readings.
  case changed

  /// One line that names the fault and the fix.
  public var description: String {
    switch self {
    case .emptySplit(let training, let documents, let fraction):
      "of \(documents) documents none is left for \(training ? "training" : "validation") at a validation fraction "
        + "of \(fraction); change --validation-fraction (0 keeps none back), or cut by --split tail"
    case .tailOfPipe: "--split tail reads the text twice, and a pipe can be read once; give files"
    case .changed: "the text became shorter while it was packed; leave the files alone and pack again"
    }
  }
}

/// What was packed.
public struct PackReport: Sendable, Equatable {
  /// One token file.
  public struct Part: Sendable, Equatable {
    /// Documents.
    public var documents = 0
    /// Tokens, those between documents included.
    public var tokens = 0
    /// UTF-8 bytes of text.
    public var bytes = 0

    /// Nothing yet.
    public init() {}
  }

  /// For training.
  public var training = Part()
  /// For validation.
  public var validation = Part()

  /// Nothing yet.
  public init() {}
}
