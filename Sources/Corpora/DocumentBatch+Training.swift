import Tokenizers

extension DocumentBatch {
  /// Gives every document to a trainer of tokenizers.
  ///
  /// - Throws: `CorpusError.invalidUTF8` naming the document, or an error of the trainer.
  public func add(to trainer: TokenizerTrainer) throws {
    do {
      try bytes.withUnsafeBufferPointer { try trainer.add($0, sequences: documents) }
    } catch TokenizerError.invalidUTF8(let offset) {
      // Documents are in order, so the one with the offset is the last that begins before it.
      let index = documents.lastIndex { $0.lowerBound <= offset } ?? 0
      throw CorpusError.invalidUTF8(
        path: path, line: lines[index], offset: offset - documents[index].lowerBound)
    }
  }
}
