/// The heads of scaled dot-product attention.
///
/// Legend: R rows (queries), H query heads, G key/value heads, D head dimension, T positions.
public struct AttentionShape: Sendable, Equatable {
  /// Heads of the queries, H.
  public let queryHeadCount: Int
  /// Heads of keys and values, G; a divisor of H (fewer than H in grouped-query attention).
  public let keyValueHeadCount: Int
  /// Channels of one head, D.
  public let headDimension: Int

  /// Describes the heads.
  /// - Precondition: all are positive and G divides H.
  public init(queryHeadCount: Int, keyValueHeadCount: Int, headDimension: Int) {
    precondition(
      queryHeadCount > 0 && keyValueHeadCount > 0 && headDimension > 0
        && queryHeadCount.isMultiple(of: keyValueHeadCount),
      "\(queryHeadCount) query heads over \(keyValueHeadCount) key/value heads of \(headDimension) channels")
    self.queryHeadCount = queryHeadCount
    self.keyValueHeadCount = keyValueHeadCount
    self.headDimension = headDimension
  }

  /// Query heads that share one key/value head, H/G.
  public var groupSize: Int { queryHeadCount / keyValueHeadCount }
  /// Channels of all query heads, H·D.
  public var queryWidth: Int { queryHeadCount * headDimension }
  /// Channels of all key (or value) heads, G·D.
  public var keyValueWidth: Int { keyValueHeadCount * headDimension }
}

/// The keys and values of one layer, wherever they are cached.
///
/// A slot holds, head after head, `headStride` places of D channels each; position p of a head lies at place
/// `slot·slotStride + head·headStride + p`, or `p mod period` where only the latest positions are kept. Places are
/// `type.byteCount(dimension: D)` bytes apart, so that a head's positions are one contiguous (T, D) matrix.
public struct KeyValueLayer: @unchecked Sendable {
  // Safe: whoever writes through the pointers owns the cache that they lead into.

  /// Keys.
  public let keys: UnsafeMutableRawPointer
  /// Values.
  public let values: UnsafeMutableRawPointer
  /// How keys are kept.
  public let keyType: KeyValueType
  /// How values are kept.
  public let valueType: KeyValueType
  /// Places from one slot to the next.
  public let slotStride: Int
  /// Places from one head to the next.
  public let headStride: Int
  /// Positions after which places are used again; `Int.max` where each has its own.
  public let period: Int

  /// Describes one layer's storage.
  public init(
    keys: UnsafeMutableRawPointer, values: UnsafeMutableRawPointer, keyType: KeyValueType = .f32,
    valueType: KeyValueType = .f32, slotStride: Int, headStride: Int, period: Int = .max
  ) {
    precondition(period > 0, "a period of \(period) positions")
    self.keys = keys
    self.values = values
    self.keyType = keyType
    self.valueType = valueType
    self.slotStride = slotStride
    self.headStride = headStride
    self.period = period
  }

  /// The place of a position of one head.
  @inline(__always)
  func place(slot: Int, head: Int, position: Int) -> Int {
    slot * slotStride + head * headStride + (position < period ? position : position % period)
  }
}

/// Consecutive positions of one slot that a query attends to.
public struct KeyValueRun: Sendable, Equatable {
  /// The slot that holds them.
  public var slot: Int
  /// The first position.
  public var start: Int
  /// How many.
  public var count: Int

  /// Describes a run.
  public init(slot: Int, start: Int, count: Int) {
    self.slot = slot
    self.start = start
    self.count = count
  }
}

/// Which positions each row of queries attends to; the same for every layer and head.
///
/// Rows either follow one another in one sequence (a prompt: row r sees one position more than row
/// r − 1), or are the newest tokens of sequences that share a beginning (beams): then the shared runs
/// are read once for all rows.
public struct AttentionPlan: Sendable {
  /// Runs that every row attends to, in the order of positions.
  public var sharedRuns: [KeyValueRun]
  /// Runs of the single rows, row after row.
  public var ownRuns: [KeyValueRun]
  /// Where each row's own runs begin in `ownRuns`: rows + 1 entries, or none when no row has any.
  public var ownRunStarts: [Int]
  /// Whether row r sees only the first `columns − rows + 1 + r` shared positions.
  public var isCausal: Bool

  /// A plan in which all rows attend to `sharedRuns` and row r to its own runs besides.
  public init(
    sharedRuns: [KeyValueRun], ownRuns: [KeyValueRun] = [], ownRunStarts: [Int] = [], isCausal: Bool = false
  ) {
    self.sharedRuns = sharedRuns
    self.ownRuns = ownRuns
    self.ownRunStarts = ownRunStarts
    self.isCausal = isCausal
  }

  /// Positions that all rows share.
  public var sharedCount: Int { sharedRuns.reduce(0) { $0 + $1.count } }

  /// Positions of one row beside the shared ones.
  func ownCount(of row: Int) -> Int { ownRuns(of: row).reduce(0) { $0 + $1.count } }

  /// Positions that row `row` of `rows` attends to, before any window.
  func visibleCount(of row: Int, rows: Int) -> Int {
    isCausal ? sharedCount - (rows - 1 - row) : sharedCount + ownCount(of: row)
  }

  /// The runs of one row beside the shared ones.
  public func ownRuns(of row: Int) -> ArraySlice<KeyValueRun> {
    ownRunStarts.isEmpty ? [] : ownRuns[ownRunStarts[row]..<ownRunStarts[row + 1]]
  }
}

/// Rows of a forward pass that belong together: where their keys and values go, and what they attend to.
public struct AttentionSegment {
  /// The rows.
  public var rows: Range<Int>
  /// The storage of every layer, (layers); its owner outlives the segment.
  public var layers: UnsafePointer<KeyValueLayer>
  /// Where the rows' keys and values are kept, in the order of the rows.
  public var writes: [KeyValueRun]
  /// What the rows attend to, row 0 of the plan being the segment's first.
  public var plan: AttentionPlan

  /// Describes a segment.
  public init(
    rows: Range<Int>, layers: UnsafePointer<KeyValueLayer>, writes: [KeyValueRun], plan: AttentionPlan
  ) {
    self.rows = rows
    self.layers = layers
    self.writes = writes
    self.plan = plan
  }
}
