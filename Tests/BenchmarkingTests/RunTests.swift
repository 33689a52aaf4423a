import Foundation
import JSON
import Kernels
import Testing
import Transformer

#if canImport(FoundationXML)
  import FoundationXML
#endif

@testable import Benchmarking

/// Runs of a tiny model from end to end; what they measure is not looked at, only that it is all there.
@Suite(.serialized) struct RunTests {
  private static let description = try! ModelShape("gpt2-tiny").description()
  private static let decoder = try! RandomWeights(description).makeDecoder()
  private static let machine = MachineDescription(
    version: "0", environment: ["OPENBLAS_NUM_THREADS": "2", "INKSTONE_COMMIT": "abc", "HOME": "/"])
  private static let model = ModelReport.Model(name: "tiny", path: "", parameterCount: 1000)

  private static var quick: ModelBenchmark.Settings {
    var settings = ModelBenchmark.Settings()
    settings.repetitions = 2
    settings.sliceDuration = 0.002
    settings.limitDuration = 0.001
    return settings
  }

  private func benchmark(isInterrupted: @escaping () -> Bool = { false }) -> ModelBenchmark {
    ModelBenchmark(
      decoder: RunTests.decoder, model: RunTests.description,
      limits: MachineLimits(pool: WorkerPool(threadCount: 2)),
      settings: RunTests.quick, isInterrupted: isInterrupted)
  }

  @Test func reportsWhatLlamaBenchReports() throws {
    let benchmark = benchmark()
    let measurements = try [
      ModelTest(.prompt, tokenCount: 8), ModelTest(.generation, tokenCount: 3, depth: 4),
    ].flatMap { try benchmark.run($0, engines: [BLASEngine(threadCount: 2), NaiveEngine()]) }
    #expect(measurements.map(\.engine) == ["blas", "naive", "blas", "naive"])
    #expect(measurements.map(\.test.name) == ["pp8", "pp8", "tg3 @ d4", "tg3 @ d4"])
    for measurement in measurements {
      #expect(measurement.sampleSeconds.count == 2)
      #expect(measurement.sliceRates.count == measurement.sliceLimits.count)
      #expect(measurement.sliceRates.allSatisfy { $0 > 0 } && measurement.sliceLimits.allSatisfy { $0 > 0 })
    }

    let report = ModelReport(model: RunTests.model, machine: RunTests.machine, measurements: measurements)
    let json = Array(report.text(.json).utf8)
    let records = try #require(try json.withUnsafeBytes { try JSONValue.parse($0) }.array)
    #expect(records.count == 4)
    let record = records[2]
    for key in [
      "build_commit", "cpu_info", "model_type", "model_size", "model_n_params", "n_prompt", "n_gen",
      "n_depth",
      "n_threads", "avg_ts", "stddev_ts", "samples_ts", "engine", "dtype", "limit_ts", "fraction_of_limit",
      "blas_core",
    ] { #expect(record[key] != nil, "\(key)") }
    #expect(record["n_prompt"]?.int == 0 && record["n_gen"]?.int == 3 && record["n_depth"]?.int == 4)
    #expect(record["build_commit"]?.string == "abc")
    #expect(record["samples_ts"]?.array?.count == 2)

    #expect(report.text(.jsonLines).split(separator: "\n").count == 4)
    #expect(report.text(.csv).split(separator: "\n").count == 5)
    let table = report.text(.markdown).split(separator: "\n")
    #expect(table.count == 6 && table[0].contains(" test |") && table[4].contains("tg3 @ d4"))
  }

  @Test func interruptionLeavesTheTestOut() throws {
    let measured = try benchmark(isInterrupted: { true }).run(
      ModelTest(.prompt, tokenCount: 8), engines: [BLASEngine(threadCount: 1)])
    #expect(measured.isEmpty)
  }

  @Test func refusesATestLongerThanTheContext() throws {
    let error = #expect(throws: BenchmarkError.self) {
      try ModelBenchmark.check(ModelTest(.generation, tokenCount: 1000, depth: 25), of: RunTests.description)
    }
    #expect(
      error?.description == "tg1000 @ d25 needs 1025 positions, the model has 1024; use smaller -p, -n or -d")
  }

  /// An engine that is wrong is found out, NaN included, and is not timed.
  @Test(arguments: [Float(1e-3), .nan])
  func refusesToTimeAWrongResult(offset: Float) throws {
    #expect(throws: BenchmarkError.self) { try benchmark().verify(WrongEngine(offset: offset)) }
    _ = try benchmark().verify(BLASEngine(threadCount: 2))
  }

  @Test func suiteVerifiesMeasuresAndDraws() throws {
    var settings = BenchmarkSuite.Settings()
    settings.promptLength = 24
    settings.generatedLength = 3
    settings.operationRounds = 2
    settings.operationSlice = 0.001
    settings.model = RunTests.quick
    let suite = BenchmarkSuite(
      decoder: RunTests.decoder, model: RunTests.description,
      limits: MachineLimits(pool: WorkerPool(threadCount: 2)),
      settings: settings)
    var announced: [String] = []
    let result = try suite.run(progress: { announced.append($0) })
    #expect(result.isComplete)
    #expect(result.models.count == 2)
    #expect(result.operations.count == 18)
    #expect(announced.count == 2 + 2 + 18)
    for operation in result.operations {
      #expect(operation.error <= operation.tolerance && operation.tolerance < 1e-4, "\(operation.name)")
      #expect(operation.factor.count == 2 && operation.fractionOfLimit.median > 0, "\(operation.name)")
    }

    let report = SuiteReport(model: RunTests.model, machine: RunTests.machine, threadCount: 2, result: result)
    #expect(report.files.map(\.name) == ["results.md", "results.csv", "results.json", "results.svg"])
    let csv = report.csv.split(separator: "\n").map {
      $0.split(separator: ",", omittingEmptySubsequences: false)
    }
    #expect(csv.count == 1 + 20)
    #expect(csv.allSatisfy { $0.count == SuiteReport.columns.count || $0.contains { $0.contains("\"") } })
    let measurements = try #require(report.json["measurements"]?.array)
    #expect(measurements.count == 20)
    #expect(measurements[0]["group"]?.string == "whole model" && measurements[0]["factor"]?.double != nil)
    #expect(report.json["machine"]?["environment"]?["OPENBLAS_NUM_THREADS"]?.string == "2")
    #expect(report.json["machine"]?["environment"]?["HOME"] == nil)

    let parser = XMLParser(data: Data(report.chart.svg.utf8))
    let counter = ElementCounter()
    parser.delegate = counter
    #expect(parser.parse(), "\(String(describing: parser.parserError))")
    #expect(counter.counts["rect"] == 2 * 20)
  }

  @Test func chartSurvivesAnyText() throws {
    let one = try #require(SampleStatistics([1e12]))
    let chart = BarChart(
      title: "a<b>&\"\u{1}\u{FFFF}", subtitle: ["</svg>"],
      groups: [
        .init(
          name: "&",
          rows: [.init(label: "<", detail: ">", factor: one, fraction: one, rate: "\"", limitName: "&")])
      ])
    #expect(XMLParser(data: Data(chart.svg.utf8)).parse())
  }

  @Test func rowSamplesReachTheLastRow() {
    for all in [1, 2, 7, 64, 512, 6144] {
      for count in [1, 2, 3, 8, 512, 100_000] {
        let sample = RowSample(count, of: all)
        #expect(
          sample.first >= 0 && sample.first + (sample.count - 1) * sample.step == all - 1,
          "\(count) of \(all)")
      }
    }
  }
}

/// The naive engine with one wrong step.
private struct WrongEngine: ComputeEngine {
  let offset: Float
  let naive = NaiveEngine()
  var name: String { "wrong" }
  var threadCount: Int { 1 }

  func embed(_ ids: [Int], table: MatrixView, into y: MutableMatrixView, accumulate: Bool) {
    naive.embed(ids, table: table, into: y, accumulate: accumulate)
  }

  func normalize(_ x: MatrixView, _ weight: NormalizationWeight, into y: MutableMatrixView) {
    naive.normalize(x, weight, into: y)
  }

  func normalizeHeads(
    _ x: MutableMatrixView, _ weight: NormalizationWeight, dimension: Int, weightStride: Int
  ) {
    naive.normalizeHeads(x, weight, dimension: dimension, weightStride: weightStride)
  }

  func rotate(
    _ x: MutableMatrixView, cosines: MatrixView, sines: MatrixView, dimension: Int, pairing: RotaryPairing
  ) {
    naive.rotate(x, cosines: cosines, sines: sines, dimension: dimension, pairing: pairing)
  }

  func linear(_ x: MatrixView, _ weight: LinearWeight, into y: MutableMatrixView, epilogue: LinearEpilogue) {
    naive.linear(x, weight, into: y, epilogue: epilogue)
    if y.rows > 0 { y.row(y.rows - 1)[0] += offset }
  }

  func store(
    keys: MatrixView, values: MatrixView, segments: [AttentionSegment], layer: Int, shape: AttentionShape
  ) {
    naive.store(keys: keys, values: values, segments: segments, layer: layer, shape: shape)
  }

  func attention(
    queries: MatrixView, segments: [AttentionSegment], layer: Int, shape: AttentionShape,
    scoring: AttentionScoring, into y: MutableMatrixView
  ) {
    naive.attention(
      queries: queries, segments: segments, layer: layer, shape: shape, scoring: scoring, into: y)
  }

  func activateGated(gate: MatrixView, up: MatrixView, into y: MutableMatrixView, activation: Activation) {
    naive.activateGated(gate: gate, up: up, into: y, activation: activation)
  }

  func copy(_ x: MatrixView, into y: MutableMatrixView) { naive.copy(x, into: y) }

  func clear(_ x: MutableMatrixView) { naive.clear(x) }

  func add(_ x: MatrixView, scaledBy scale: Float, to y: MutableMatrixView) {
    naive.add(x, scaledBy: scale, to: y)
  }

  func scale(_ x: MutableMatrixView, by scale: Float) { naive.scale(x, by: scale) }

  func softCap(_ x: MutableMatrixView, cap: Float) { naive.softCap(x, cap: cap) }

  func route(_ x: MutableMatrixView, count: Int, isNormalized: Bool) -> [ExpertShare] {
    naive.route(x, count: count, isNormalized: isNormalized)
  }

  func gather(_ x: MatrixView, rows: [Int], into y: MutableMatrixView) {
    naive.gather(x, rows: rows, into: y)
  }

  func scatterAdd(_ x: MatrixView, rows: [Int], shares: [Float], to y: MutableMatrixView) {
    naive.scatterAdd(x, rows: rows, shares: shares, to: y)
  }
}

private final class ElementCounter: NSObject, XMLParserDelegate {
  var counts: [String: Int] = [:]

  func parser(
    _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
    attributes: [String: String] = [:]
  ) {
    counts[name, default: 0] += 1
  }
}
