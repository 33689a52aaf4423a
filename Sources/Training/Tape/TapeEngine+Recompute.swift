import Kernels
import Transformer

/// Blocks of which only what goes in is kept.
///
/// The results of all blocks but the last lie in the same memory, one after another. On the way back, what was recorded
/// of a block is computed once more, from its input and with the same masks, so it is the same to the bit.
///
/// - SeeAlso: arXiv:1604.06174
struct ForgottenBlocks {
  /// A block that is done.
  struct Block {
    /// Its records.
    let records: Range<Int>
    /// Its results.
    let pieces: [ActivationArena.Piece]
  }

  /// The residual stream, which blocks change.
  var stream: MutableMatrixView?
  /// What goes into each block.
  var inputs: [MutableMatrixView] = []
  /// Where the results of a block begin.
  var mark: ActivationArena.Mark?
  /// The first record of the first block.
  var first = 0
  /// Blocks that are done, without the last.
  var done: [Block] = []
}

extension TapeEngine {
  /// Begins to forget blocks, before the first.
  ///
  /// - Parameter stream: what the first block reads.
  func beginBlocks(_ stream: MatrixView, count: Int) {
    guard recomputes, count > 1 else { return }
    blocks.stream = stream.writable
    blocks.first = records.count
    // Before the mark, where nothing is taken back until the pass is over.
    blocks.inputs = (0..<count - 1).map { _ in arena.matrix(stream.rows, stream.columns, born: records.count)
    }
    blocks.mark = arena.mark
    duplicate(stream, into: blocks.inputs[0])
  }

  /// Forgets the results of a block that is done, unless it is the last: that is where the way back begins.
  func endBlock(_ index: Int) {
    guard let stream = blocks.stream, let mark = blocks.mark, index < blocks.inputs.count else { return }
    let start = blocks.done.last?.records.upperBound ?? blocks.first
    blocks.done.append(.init(records: start..<records.count, pieces: arena.release(to: mark)))
    if index + 1 < blocks.inputs.count { duplicate(stream.readOnly, into: blocks.inputs[index + 1]) }
  }

  /// Computes the results of the last block that was forgotten, when the way back comes to its last record.
  func recall(at index: Int) {
    guard let block = blocks.done.last, index == block.records.upperBound - 1, let stream = blocks.stream
    else {
      return
    }
    blocks.done.removeLast()
    arena.restore(block.pieces)
    duplicate(blocks.inputs[blocks.done.count].readOnly, into: stream)
    for record in records[block.records] { computeAgain(record) }
  }

  private func computeAgain(_ record: Record) {
    func refresh(_ saved: MatrixView, from x: MatrixView) {
      if saved.base != x.base { duplicate(x, into: saved.writable) }
    }
    switch record {
    case .embed: preconditionFailure("a block that looks up embeddings")
    case .normalize(let x, let saved, let weight, let y):
      refresh(saved, from: x)
      engine.normalize(x, weight, into: y.writable)
    case .normalizeHeads(let x, let saved, let weight, let dimension, let weightStride):
      refresh(saved, from: x)
      engine.normalizeHeads(x.writable, weight, dimension: dimension, weightStride: weightStride)
    case .rotate(let x, let cosines, let sines, let dimension, let pairing):
      engine.rotate(x.writable, cosines: cosines, sines: sines, dimension: dimension, pairing: pairing)
    case .linear(let x, let saved, let weight, let y, let after, let adapted):
      refresh(saved, from: x)
      multiply(x, saved, weight, into: y.writable, after, adapted)
    case .attention(let attention, let queries, let keys, let values, let y, let logSums):
      attention.forward(
        queries: queries, keys: keys, values: values, into: y.writable, logSums: logSums, pool: pool)
    case .activateGated(let gate, let up, let y, let activation):
      engine.activateGated(gate: gate, up: up, into: y.writable, activation: activation)
    case .copy(let x, let y): engine.copy(x, into: y.writable)
    case .add(let x, let scale, let y, let mask): add(x, scaledBy: scale, to: y.writable, mask)
    case .scale(let x, let scale): engine.scale(x.writable, by: scale)
    case .softCap(let x, let saved, let cap):
      engine.softCap(x.writable, cap: cap)
      refresh(saved, from: x)
    case .drop(let x, let mask): mask.apply(x, into: x.writable, pool: pool)
    }
  }
}

extension MatrixView {
  /// The same memory, to be written again: results of a tape are its own.
  var writable: MutableMatrixView {
    MutableMatrixView(
      UnsafeMutablePointer(mutating: base), rows: rows, columns: columns, rowStride: rowStride)
  }
}
