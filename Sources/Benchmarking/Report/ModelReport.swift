import JSON
import Transformer

/// Measurements of one model as tables, with the columns and field names of llama-bench.
public struct ModelReport: Sendable {
  /// A model as reports name it.
  public struct Model: Sendable {
    /// Such as `gpt2-124m`, or the folder's name.
    public let name: String
    /// The folder; empty for random weights.
    public let path: String
    /// How many weights.
    public let parameterCount: Int

    /// Names a model.
    public init(name: String, path: String, parameterCount: Int) {
      self.name = name
      self.path = path
      self.parameterCount = parameterCount
    }
  }

  /// How results are written.
  public enum Format: String, Sendable, CaseIterable {
    /// A table in Markdown.
    case markdown = "md"
    /// Comma-separated values.
    case csv
    /// One array of objects.
    case json
    /// One object per line.
    case jsonLines = "jsonl"
  }

  private let model: Model
  private let machine: MachineDescription
  private let measurements: [ModelMeasurement]

  /// Collects what to report.
  public init(model: Model, machine: MachineDescription, measurements: [ModelMeasurement]) {
    self.model = model
    self.machine = machine
    self.measurements = measurements
  }

  /// The text of the report, with a line end.
  public func text(_ format: Format) -> String {
    switch format {
    case .markdown: markdown
    case .csv: csv
    case .json: JSONValue.array(records).text(.indented) + "\n"
    case .jsonLines: records.map { $0.text() + "\n" }.joined()
    }
  }

  private var markdown: String {
    markdownTable(
      ["model", "size", "params", "backend", "dtype", "threads", "test", "t/s", "limit t/s", "of limit"],
      measurements.map { measurement in
        let rates = SampleStatistics(measurement.sampleRates)
        return [
          model.name, byteText(measurement.weightByteCount),
          fixed(Double(model.parameterCount) / 1e6, 2) + " M",
          measurement.engine, measurement.weightType, "\(measurement.threadCount)", measurement.test.name,
          "\(fixed(rates?.mean ?? 0, 2)) ± \(fixed(rates?.standardDeviation ?? 0, 2))",
          fixed(measurement.limit, 1), measurement.fractionOfLimit.map { percent($0.median) } ?? "",
        ]
      }, textColumns: 5)
  }

  private var csv: String {
    guard let first = records.first?.object else { return "" }
    func cell(_ value: JSONValue) -> String {
      switch value {
      case .string(let text): text
      case .array(let values): values.map { $0.text() }.joined(separator: " ")
      default: value.text()
      }
    }
    return csvLine(first.members.map(\.key))
      + records.map { csvLine($0.object!.members.map { cell($0.value) }) }.joined()
  }

  /// One object per measurement.
  var records: [JSONValue] {
    measurements.map { measurement in
      let rates = SampleStatistics(measurement.sampleRates)
      let times = SampleStatistics(measurement.sampleSeconds.map { $0 * 1e9 })
      let fraction = measurement.fractionOfLimit
      let isPrompt = measurement.test.kind == .prompt
      return [
        "build_commit": .string(machine.commit),
        "cpu_info": .string(machine.processor),
        "backends": "BLAS",
        "blas_core": .string(machine.coreType),
        "engine": .string(measurement.engine),
        "dtype": .string(measurement.weightType),
        "model_filename": .string(model.path),
        "model_type": .string(model.name),
        "model_size": .integer(measurement.weightByteCount),
        "model_n_params": .integer(model.parameterCount),
        "n_batch": .integer(measurement.chunk),
        "n_ubatch": .integer(measurement.chunk),
        "n_threads": .integer(measurement.threadCount),
        "type_k": .string(measurement.cacheTypes.keys.rawValue),
        "type_v": .string(measurement.cacheTypes.values.rawValue),
        "n_prompt": .integer(isPrompt ? measurement.test.tokenCount : 0),
        "n_gen": .integer(isPrompt ? 0 : measurement.test.tokenCount),
        "n_depth": .integer(measurement.test.depth),
        "n_parallel": .integer(measurement.test.parallel),
        "n_beams": .integer(measurement.test.beams.count),
        "no_repeat_ngram_size": .integer(measurement.test.beams.noRepeatNGramSize),
        "prompt_lookup": .integer(measurement.test.lookup),
        "test": .string(measurement.test.name),
        "test_time": .string(machine.time),
        "avg_ns": .integer(Int(times?.mean ?? 0)),
        "stddev_ns": .integer(Int(times?.standardDeviation ?? 0)),
        "avg_ts": .number(rates?.mean ?? 0),
        "stddev_ts": .number(rates?.standardDeviation ?? 0),
        "samples_ns": .array(measurement.sampleSeconds.map { .integer(Int($0 * 1e9)) }),
        "samples_ts": .array(measurement.sampleRates.map { .number($0) }),
        "limit_ts": .number(measurement.limit),
        "fraction_of_limit": .number(fraction?.median ?? 0),
        "fraction_quartiles": .array([
          .number(fraction?.lowerQuartile ?? 0), .number(fraction?.upperQuartile ?? 0),
        ]),
      ]
    }
  }
}
