import Checkpoints

extension Tokenizer {
  /// Whether a model folder holds a tokeniser; loading one that exists and is damaged is an error, not an absence.
  public static func exists(in folder: String) -> Bool {
    ["tokenizer.json", "vocab.json", "merges.txt"].contains { fileExists("\(folder)/\($0)") }
  }
}
