import Testing

@testable import Benchmarking

@Suite struct StatisticsTests {
  /// Values of NumPy's `quantile` and `std(ddof=1)`.
  @Test func equalsNumPy() throws {
    let statistics = try #require(SampleStatistics([4, 1, 3, 2, 10]))
    #expect(statistics.count == 5)
    #expect(statistics.minimum == 1)
    #expect(statistics.median == 3)
    #expect(statistics.lowerQuartile == 2)
    #expect(statistics.upperQuartile == 4)
    #expect(abs(statistics.p95 - 8.8) < 1e-12)
    #expect(statistics.mean == 4)
    #expect(abs(statistics.standardDeviation - 3.5355339059327378) < 1e-12)
    #expect(abs(statistics.relativeSpread - 1 / 3.0) < 1e-12)
  }

  @Test func oneSampleHasNoSpread() throws {
    let statistics = try #require(SampleStatistics([2]))
    #expect(statistics.p95 == 2)
    #expect(statistics.standardDeviation == 0)
    #expect(statistics.relativeSpread == 0)
  }

  @Test func nothingHasNoStatistics() {
    #expect(SampleStatistics([]) == nil)
  }

  /// A machine that halves its speed in the middle changes neither the ratio nor its spread.
  @Test func pairsCancelDrift() throws {
    let speed: [Double] = [1, 1, 1, 0.5, 0.5, 0.5]
    let ratios = try #require(SampleStatistics.pairedRatios(speed.map { 30 * $0 }, speed.map { 40 * $0 }))
    #expect(ratios.median == 0.75)
    #expect(ratios.relativeSpread == 0)
  }

  @Test func sliceRunsAtLeastOnce() {
    var (prepared, calls) = (0, 0)
    let samples = slice(lasting: 0, prepare: { prepared += 1 }) { calls += 1 }
    #expect(samples.count == 1 && calls == 1 && prepared == 1)
  }
}

@Suite struct FigureTests {
  @Test(arguments: [
    (0.0, "0.0000"), (0.01234, "0.0123"), (0.5, "0.500"), (3.14159, "3.14"), (99.94, "99.9"), (157.4, "157"),
    (-2.0, "-2.00"),
  ])
  func threeDigitsCount(value: Double, text: String) {
    #expect(figure(value) == text)
  }

  @Test func roundsAtTheLastDecimal() {
    #expect(fixed(0.999, 2) == "1.00")
    #expect(fixed(-0.004, 2) == "0.00")
    #expect(fixed(12.05, 1) == "12.1" || fixed(12.05, 1) == "12.0")
    #expect(fixed(.nan, 2) == "nan")
  }

  @Test func namesUnits() {
    #expect(timeText(2.5e-6) == "2.50 µs")
    #expect(timeText(0.0125) == "12.5 ms")
    #expect(timeText(90) == "90.0 s")
    #expect(byteText(475 << 20) == "475 MiB")
    #expect(byteText(.max) == "more than can be counted")
    #expect(scientific(2.44e-6) == "2.4e-6")
    #expect(percent(0.874) == "87 %")
  }

  @Test func quotesCSV() {
    #expect(csvLine(["a", "b,c", "d\"e"]) == "a,\"b,c\",\"d\"\"e\"\n")
  }
}
