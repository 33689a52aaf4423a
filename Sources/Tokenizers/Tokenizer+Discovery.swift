import Checkpoints

extension Tokenizer {
  /// Whether a model folder holds a tokeniser, or a GGUF file carries one.
  ///
  /// Loading one that exists and is damaged is an error, not an absence.
  public static func exists(in path: String) -> Bool {
    if !folderExists(path), GGUFFile.recognises(path) {
      // A file that cannot be opened is told by whoever loads it.
      guard let file = try? GGUFFile(path: path) else { return true }
      return GGUFVocabulary.exists(in: file.metadata)
    }
    let files = ["tokenizer.json", "vocab.json", "merges.txt", "vocab.txt"] + TokenizerLoader.pieceFiles
    return files.contains { fileExists("\(path)/\($0)") }
  }
}
