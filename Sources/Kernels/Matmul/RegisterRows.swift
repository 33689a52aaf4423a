/// What one row of a tile keeps in registers.
protocol RegisterRow {
  init()
}

/// Several rows in registers: a number of them that the compiler knows, so that each of their sums is a register of its own.
protocol RegisterRows {
  associatedtype Row: RegisterRow
  static var count: Int { get }
  init()
  /// Does something to each row, with its number.
  mutating func each(from first: Int, _ body: (inout Row, Int) -> Void)
}

/// One row.
struct OneRow<Row: RegisterRow>: RegisterRows {
  private var row = Row()

  @inline(__always) static var count: Int { 1 }

  @inline(__always) init() {}

  @inline(__always)
  mutating func each(from first: Int, _ body: (inout Row, Int) -> Void) { body(&row, first) }
}

/// As many rows as two others together.
struct BothRows<First: RegisterRows, Second: RegisterRows>: RegisterRows where First.Row == Second.Row {
  private var first = First()
  private var second = Second()

  @inline(__always) static var count: Int { First.count + Second.count }

  @inline(__always) init() {}

  @inline(__always)
  mutating func each(from start: Int, _ body: (inout First.Row, Int) -> Void) {
    first.each(from: start, body)
    second.each(from: start &+ First.count, body)  // Safe: at most twelve.
  }
}

typealias TwoRows<Row: RegisterRow> = BothRows<OneRow<Row>, OneRow<Row>>
typealias FourRows<Row: RegisterRow> = BothRows<TwoRows<Row>, TwoRows<Row>>
typealias SixRows<Row: RegisterRow> = BothRows<FourRows<Row>, TwoRows<Row>>
typealias EightRows<Row: RegisterRow> = BothRows<FourRows<Row>, FourRows<Row>>
typealias TwelveRows<Row: RegisterRow> = BothRows<EightRows<Row>, FourRows<Row>>
