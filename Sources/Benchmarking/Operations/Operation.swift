import Kernels

/// One operation of a decoder, in a shape that a model gives it, as the naive path and the OpenBLAS path run it.
struct Operation {
  /// What bounds its speed, and how much of it there is.
  enum Work {
    /// Floating-point operations, against the rate of a large product.
    case operations(Double)
    /// Bytes of weights or cache that are not in a cache, against the rate of reading memory.
    case bytesRead(Double)
    /// Floats that are read and written once, against a plain pass over as many.
    case floatsPassed(Int)
  }

  /// The name in reports, such as `attention`.
  let name: String
  /// The shape in words.
  let shape: String
  /// What bounds it.
  let work: Work
  /// Runs before each timed call, untimed: puts back what the call overwrites.
  var prepare: (() -> Void)?
  /// The OpenBLAS path.
  let fast: () -> Void
  /// The naive path, on some of the rows.
  let naive: (_ rows: Int) -> Void
  /// All rows.
  let rowCount: Int
  /// Runs both paths once and compares them on some rows.
  let verify: (_ rows: Int) -> Agreement

  /// How far two paths may differ and do.
  struct Agreement {
    /// The largest difference; infinite when either path gives NaN.
    let error: Double
    /// The most that rounding explains.
    let tolerance: Double
  }
}

/// An operation's times beside the limit and the naive path.
public struct OperationMeasurement: Sendable {
  /// The operation, such as `attention`.
  public let name: String
  /// The shape in words.
  public let shape: String
  /// Threads of the OpenBLAS path.
  public let threadCount: Int
  /// Seconds of each call of the OpenBLAS path.
  public let times: SampleStatistics
  /// Seconds of the naive path, one thread, scaled to all rows from those that were run.
  public let naiveTimes: SampleStatistics
  /// Rows that the naive path ran, and rows of the operation.
  public let naiveRows: (run: Int, all: Int)
  /// Naive over OpenBLAS, slice by slice.
  public let factor: SampleStatistics
  /// The share of the limit that was reached, slice by slice.
  public let fractionOfLimit: SampleStatistics
  /// What the limit is: `SGEMM`, `read` or `pass`.
  public let limitName: String
  /// The median rate, in FLOP/s or bytes/s.
  public let rate: Double
  /// The limit's median rate, in FLOP/s or bytes/s.
  public let limitRate: Double
  /// The largest difference from the naive path.
  public let error: Double
  /// The most that was allowed.
  public let tolerance: Double

  /// `GFLOP/s` or `GB/s`.
  public var unit: String { limitName == "SGEMM" ? "GFLOP/s" : "GB/s" }
}

extension MachineLimits {
  /// The rate that bounds some work, measured now.
  fileprivate func rate(for work: Operation.Work, lasting duration: Double) -> Double {
    switch work {
    case .operations: multiplicationRate(lasting: duration)
    case .bytesRead: readRate(lasting: duration)
    case .floatsPassed(let count): passRate(over: count, lasting: duration)
    }
  }
}

extension Operation.Work {
  /// FLOP or bytes.
  var amount: Double {
    switch self {
    case .operations(let count), .bytesRead(let count): count
    case .floatsPassed(let count): Double(8 * count)
    }
  }

  /// The limit's name in reports.
  var limitName: String {
    switch self {
    case .operations: "SGEMM"
    case .bytesRead: "read"
    case .floatsPassed: "pass"
    }
  }
}

extension Operation {
  /// Verifies, then times limit, OpenBLAS path and naive path in turn.
  ///
  /// - Returns: nothing when interrupted.
  /// - Throws: `BenchmarkError.disagreement`; nothing is timed then.
  func measure(
    limits: MachineLimits, rounds: Int, sliceDuration: Double, isInterrupted: () -> Bool
  ) throws -> OperationMeasurement? {
    // As many naive rows as fit a slice: three loops cost each row the same.
    let oneRow = seconds { naive(1) }
    guard !isInterrupted() else { return nil }
    let rows = max(1, min(rowCount, Int(sliceDuration / max(oneRow, 1e-9))))
    let agreement = verify(max(rows, min(rowCount, 4)))
    guard agreement.error <= agreement.tolerance else {
      throw BenchmarkError.disagreement(
        subject: "\(name) \(shape)", error: agreement.error, tolerance: agreement.tolerance)
    }

    let scale = Double(rowCount) / Double(rows)
    var (times, naiveTimes): ([Double], [Double]) = ([], [])
    var (means, naiveMeans, limitRates): ([Double], [Double], [Double]) = ([], [], [])
    _ = slice(lasting: sliceDuration / 4, prepare: prepare, fast)
    for _ in 0..<rounds {
      limitRates.append(limits.rate(for: work, lasting: sliceDuration))
      let fastSlice = slice(lasting: sliceDuration, prepare: prepare, fast)
      let naiveSlice = slice(lasting: sliceDuration, prepare: prepare) { naive(rows) }.map { $0 * scale }
      times += fastSlice
      naiveTimes += naiveSlice
      means.append(fastSlice.reduce(0, +) / Double(fastSlice.count))
      naiveMeans.append(naiveSlice.reduce(0, +) / Double(naiveSlice.count))
      guard !isInterrupted() else { return nil }
    }
    let rates = means.map { work.amount / $0 }
    guard let timeStatistics = SampleStatistics(times), let naiveStatistics = SampleStatistics(naiveTimes),
      let factor = SampleStatistics.pairedRatios(naiveMeans, means),
      let fraction = SampleStatistics.pairedRatios(rates, limitRates), let rate = SampleStatistics(rates),
      let limitRate = SampleStatistics(limitRates)
    else { return nil }
    return OperationMeasurement(
      name: name, shape: shape, threadCount: limits.threadCount, times: timeStatistics,
      naiveTimes: naiveStatistics,
      naiveRows: (rows, rowCount), factor: factor, fractionOfLimit: fraction, limitName: work.limitName,
      rate: rate.median, limitRate: limitRate.median, error: agreement.error, tolerance: agreement.tolerance)
  }
}
