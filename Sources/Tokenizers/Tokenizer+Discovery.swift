import Checkpoints

extension Tokenizer {
  /// Whether a model folder holds a tokeniser; loading one that exists and is damaged is an error, not an absence.
  public static func exists(in folder: String) -> Bool {
    ["tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt"].contains {
      fileExists("\(folder)/\($0)")
    }
  }
}
