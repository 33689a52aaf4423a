import CIntrinsics

/// What one row of activations keeps in registers while a tile of 32 outputs goes by.
struct TileRow {
  /// Sums of integers of the block in hand, 16 outputs each.
  var integers0 = SIMD16<Int32>.zero
  var integers1 = SIMD16<Int32>.zero
  /// Sums so far.
  var sums0 = FloatVector.zero
  var sums1 = FloatVector.zero
}

/// Several rows in registers: a number of them that the compiler knows, so that each is a register of its own.
protocol TileRows {
  static var count: Int { get }
  init()
  /// Does something to each row, with its number.
  mutating func each(from first: Int, _ body: (inout TileRow, Int) -> Void)
}

/// One row.
struct OneTileRow: TileRows {
  private var row = TileRow()

  @inline(__always) static var count: Int { 1 }

  @inline(__always)
  mutating func each(from first: Int, _ body: (inout TileRow, Int) -> Void) { body(&row, first) }
}

/// As many rows as two others together.
struct BothTileRows<First: TileRows, Second: TileRows>: TileRows {
  private var first = First()
  private var second = Second()

  @inline(__always) static var count: Int { First.count + Second.count }

  @inline(__always)
  mutating func each(from start: Int, _ body: (inout TileRow, Int) -> Void) {
    first.each(from: start, body)
    second.each(from: start &+ First.count, body)  // Safe: at most six.
  }
}

typealias TwoTileRows = BothTileRows<OneTileRow, OneTileRow>
typealias ThreeTileRows = BothTileRows<TwoTileRows, OneTileRow>
typealias FourTileRows = BothTileRows<TwoTileRows, TwoTileRows>
typealias FiveTileRows = BothTileRows<FourTileRows, OneTileRow>
typealias SixTileRows = BothTileRows<FourTileRows, TwoTileRows>

extension TileRows {
  /// Writes the sums, or adds them to what is there.
  ///
  /// - Parameters:
  ///   - y: (count, columns), rows `stride` apart.
  ///   - columns: outputs of the tile that there are, 1 … 32.
  @inline(__always)
  mutating func store(to y: UnsafeMutablePointer<Float>, stride: Int, columns: Int, accumulate: Bool) {
    each(from: 0) { row, index in
      let target = y + index * stride
      storeVector(row.sums0, to: target, count: min(columns, 16), accumulate: accumulate)
      if columns > 16 {
        storeVector(row.sums1, to: target + 16, count: columns - 16, accumulate: accumulate)
      }
    }
  }
}

@inline(__always)
private func storeVector(
  _ sums: FloatVector, to target: UnsafeMutablePointer<Float>, count: Int, accumulate: Bool
) {
  if count == 16 {
    (accumulate ? FloatVector(at: target) + sums : sums).store(to: target)
  } else {
    (accumulate ? FloatVector(at: target, count: count) + sums : sums).store(to: target, count: count)
  }
}
