import JSON

/// What `make bench` measured, as tables for people and for programs and as a picture.
public struct SuiteReport: Sendable {
  private let model: ModelReport.Model
  private let machine: MachineDescription
  private let threadCount: Int
  private let result: BenchmarkSuite.Result

  /// Collects what to report.
  public init(
    model: ModelReport.Model, machine: MachineDescription, threadCount: Int, result: BenchmarkSuite.Result
  ) {
    self.model = model
    self.machine = machine
    self.threadCount = threadCount
    self.result = result
  }

  /// The files of a result, by name.
  public var files: [(name: String, contents: String)] {
    [
      ("results.md", markdown), ("results.csv", csv), ("results.json", json.text(.indented) + "\n"),
      ("results.svg", chart.svg),
    ]
  }

  /// One line of the tables.
  struct Line {
    let group: String
    let name: String
    let shape: String
    /// The OpenBLAS path's median.
    let time: String
    let naiveTime: String
    let rate: String
    let factor: SampleStatistics
    let fraction: SampleStatistics
    let limitName: String
    let error: String
    /// The same as the columns of the CSV.
    let cells: [String]
  }

  /// The columns of the CSV; a line's `cells` are in their order.
  static let columns = [
    "group", "name", "shape", "threads", "unit", "rate", "limit_name", "limit", "fraction_of_limit",
    "fraction_lower_quartile", "fraction_upper_quartile", "factor", "factor_lower_quartile",
    "factor_upper_quartile",
    "median_s", "minimum_s", "p95_s", "samples", "naive_median_s", "naive_samples", "naive_rows", "rows",
    "error",
    "tolerance",
  ]

  /// The whole model first, then its operations.
  var lines: [Line] { result.models.compactMap(line) + result.operations.map(line) }

  private func line(_ comparison: BenchmarkSuite.ModelComparison) -> Line? {
    let (fast, naive) = (comparison.fast, comparison.naive)
    guard let factor = comparison.factor, let fraction = fast.fractionOfLimit,
      let times = SampleStatistics(fast.sampleSeconds), let rate = SampleStatistics(fast.sampleRates),
      let naiveTimes = SampleStatistics(naive.sampleSeconds)
    else { return nil }
    let scale = Double(fast.test.tokenCount) / Double(naive.test.tokenCount)
    let limitName = fast.test.kind == .prompt ? "SGEMM" : "read"
    let agreement = result.scoreAgreement
    return Line(
      group: "whole model", name: fast.test.kind == .prompt ? "prefill" : "decode", shape: fast.test.name,
      time: timeText(times.median), naiveTime: timeText(naiveTimes.median * scale),
      rate: figure(rate.median) + " t/s", factor: factor, fraction: fraction, limitName: limitName,
      error: scientific(agreement.error),
      cells: cells(
        "whole model", fast.test.kind == .prompt ? "prefill" : "decode", fast.test.name, "t/s", rate.median,
        limitName,
        fast.limit, fraction, factor, times, naiveTimes, scale, (naive.test.tokenCount, fast.test.tokenCount),
        agreement.error, agreement.tolerance))
  }

  private func line(_ operation: OperationMeasurement) -> Line {
    let group = operation.naiveRows.all == 1 ? "one token" : "prompt"
    return Line(
      group: group, name: operation.name, shape: operation.shape,
      time: timeText(operation.times.median),
      naiveTime: timeText(operation.naiveTimes.median),
      rate: figure(operation.rate / 1e9) + " " + operation.unit,
      factor: operation.factor, fraction: operation.fractionOfLimit, limitName: operation.limitName,
      error: scientific(operation.error),
      cells: cells(
        group, operation.name, operation.shape, operation.unit, operation.rate / 1e9,
        operation.limitName,
        operation.limitRate / 1e9, operation.fractionOfLimit, operation.factor, operation.times,
        operation.naiveTimes, 1, operation.naiveRows, operation.error, operation.tolerance))
  }

  private func cells(
    _ group: String, _ name: String, _ shape: String, _ unit: String, _ rate: Double, _ limitName: String,
    _ limit: Double, _ fraction: SampleStatistics, _ factor: SampleStatistics, _ times: SampleStatistics,
    _ naiveTimes: SampleStatistics, _ naiveScale: Double, _ rows: (run: Int, all: Int), _ error: Double,
    _ tolerance: Double
  ) -> [String] {
    let (naiveMedian, naiveCount) = (naiveTimes.median * naiveScale, naiveTimes.count)
    return [
      group, name, shape, "\(threadCount)", unit, "\(rate)", limitName, "\(limit)", "\(fraction.median)",
      "\(fraction.lowerQuartile)", "\(fraction.upperQuartile)", "\(factor.median)", "\(factor.lowerQuartile)",
      "\(factor.upperQuartile)", "\(times.median)", "\(times.minimum)", "\(times.p95)", "\(times.count)",
      "\(naiveMedian)", "\(naiveCount)", "\(rows.run)", "\(rows.all)", "\(error)", "\(tolerance)",
    ]
  }

  // MARK: Texts

  /// The limits over the whole run in words.
  var limitsText: String {
    var parts: [String] = []
    if let rate = SampleStatistics(result.multiplicationRates) {
      parts.append("SGEMM \(spread(rate, 1e9)) GFLOP/s")
    }
    if let ratio = SampleStatistics(result.libraryRatios) {
      parts.append("(OpenBLAS's own threads reach \(percent(ratio.median)) of it)")
    }
    if let rate = SampleStatistics(result.readRates) {
      parts.append("· memory read \(spread(rate, 1e9)) GB/s")
    }
    return parts.joined(separator: " ")
  }

  /// Median and quartiles.
  private func spread(_ statistics: SampleStatistics, _ unit: Double) -> String {
    "\(figure(statistics.median / unit)) (\(figure(statistics.lowerQuartile / unit)) … "
      + "\(figure(statistics.upperQuartile / unit)))"
  }

  /// A title, the machine, the table and how to read it.
  public var markdown: String {
    let rows = lines.map { line in
      [
        line.name, line.shape, line.naiveTime, line.time, figure(line.factor.median) + " ×",
        "± \(percent(line.factor.relativeSpread))",
        line.rate, percent(line.fraction.median), "± \(percent(line.fraction.relativeSpread))",
        line.limitName,
        line.error,
      ]
    }
    let table = markdownTable(
      [
        "operation", "shape", "naive", "OpenBLAS path", "factor", "spread", "rate", "of limit", "spread",
        "limit",
        "error",
      ], rows, textColumns: 2)
    return """
      # \(model.name): naive Swift against OpenBLAS

      ```
      \(machine.text(threadCounts: [threadCount]))
      limits        \(limitsText)
      ```

      \(table)
      Times are medians, the naive path's scaled to all rows from those it ran. Factor and "of limit" are medians of ratios
      of neighbouring slices; a spread is half the distance of their quartiles. Limits: SGEMM = rate of a product of 2048³,
      read = rate of reading 256 MiB, pass = rate of reading and writing as many floats in place. Error: the largest
      difference from the naive path, checked before timing.

      """ + (result.isComplete ? "" : "\nInterrupted: not everything was measured.\n")
  }

  /// One line per measurement.
  public var csv: String { csvLine(SuiteReport.columns) + lines.map { csvLine($0.cells) }.joined() }

  /// Machine, limits and measurements.
  public var json: JSONValue {
    func value(_ cell: String) -> JSONValue {
      Int(cell).map { .integer($0) } ?? Double(cell).map { .number($0) } ?? .string(cell)
    }
    return [
      "machine": machine.json,
      "threads": .integer(threadCount),
      "model_type": .string(model.name),
      "model_n_params": .integer(model.parameterCount),
      "complete": .bool(result.isComplete),
      "limits": [
        "sgemm_flops": .array(result.multiplicationRates.map { .number($0) }),
        "sgemm_library_threads_ratios": .array(result.libraryRatios.map { .number($0) }),
        "read_bytes": .array(result.readRates.map { .number($0) }),
      ],
      "measurements": .array(
        lines.map { line in
          .object(JSONObject(zip(SuiteReport.columns, line.cells).map { .init(key: $0, value: value($1)) }))
        }),
      "model": .array(
        ModelReport(
          model: model, machine: machine, measurements: result.models.flatMap { [$0.fast, $0.naive] }
        ).records),
    ]
  }

  /// The factors and the shares of the limits side by side.
  public var chart: BarChart {
    BarChart(
      title: "\(model.name): OpenBLAS path against naive Swift",
      subtitle: [
        "\(machine.processor) · \(threadCount) \(threadCount == 1 ? "thread" : "threads") · \(machine.blas), "
          + "\(machine.coreType) · \(machine.time.prefix(10)) · \(machine.commit)",
        "Limits of the same run: " + limitsText,
      ],
      groups: ["whole model", "prompt", "one token"].map { group in
        BarChart.Group(
          name: group,
          rows: lines.filter { $0.group == group }.map { line in
            BarChart.Row(
              label: line.name, detail: line.shape, factor: line.factor, fraction: line.fraction,
              rate: line.rate, limitName: line.limitName)
          })
      })
  }
}
