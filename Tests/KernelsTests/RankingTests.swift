import Testing

@testable import Kernels

@Suite struct RankingTests {
  private typealias Ranking = (UnsafePointer<Float>, Int, UnsafeMutableBufferPointer<Int>) -> Void

  private func ranked(_ x: [Float], _ k: Int, _ rank: Ranking) -> [Int] {
    // One place more, to see that it is not written.
    var places = [Int](repeating: -7, count: k + 1)
    let row = GuardedMatrix(x)
    places.withUnsafeMutableBufferPointer { rank(row.view.base, x.count, .init(rebasing: $0[..<k])) }
    #expect(places.removeLast() == -7 && row.isIntact)
    return places
  }

  private let fast: Ranking = { topK($0, count: $1, into: $2) }
  private let naive: Ranking = { topKReference($0, count: $1, into: $2) }

  /// Rows that are random, full of ties, ascending (each value enters), descending, constant, mostly −∞, or
  /// hold NaN and both zeros.
  private func rows(_ count: Int) -> [(name: String, values: [Float])] {
    var random = RandomFloats(seed: count)
    let odd: [Float] = [
      .nan, 0, -0.0, -.infinity, .infinity, .leastNonzeroMagnitude, -.leastNonzeroMagnitude,
    ]
    return [
      ("random", random.floats(count)),
      ("ties", (0..<count).map { _ in Float(random.integer(0..<5)) }),
      ("ascending", (0..<count).map { Float($0) }),
      ("descending", (0..<count).map { Float(-$0) }),
      ("constant", (0..<count).map { _ in 4 }),
      ("masked", (0..<count).map { $0 % 97 == 5 ? random.float() : -.infinity }),
      ("odd", (0..<count).map { _ in odd[random.integer(0..<odd.count)] }),
      ("nan", (0..<count).map { _ in .nan }),
    ]
  }

  @Test(arguments: rowSizes)
  func topKEqualsSorting(count: Int) {
    for (name, values) in rows(count) {
      let sorted = values.enumerated().sorted { a, b in
        let (x, y) = (a.element.isNaN ? -.infinity : a.element, b.element.isNaN ? -.infinity : b.element)
        return x != y ? x > y : a.offset < b.offset
      }
      for k in Set([0, 1, 2, 10, 50, 51, 200, count / 2, count]) where k <= count {
        let expected = sorted.prefix(k).map(\.offset)
        #expect(ranked(values, k, fast) == expected, "\(k) of \(count) \(name)")
        #expect(topK(k, of: values, count: count) == expected, "\(k) of \(count) \(name)")
        if k > 0 {
          let value = sorted[k - 1].element
          #expect(
            largest(k, of: values, count: count) == (value.isNaN ? -.infinity : value),
            "\(k) of \(count) \(name)")
        }
      }
      #expect(
        ranked(values, min(50, count), naive) == sorted.prefix(min(50, count)).map(\.offset), "naive, \(name)"
      )
    }
  }

  @Test(arguments: rowSizes.dropFirst())
  func argmaxIsTheFirstOfTheLargest(count: Int) {
    for (name, values) in rows(count) {
      var expected: Int?
      for index in 0..<count
      where !values[index].isNaN && expected.map({ values[index] > values[$0] }) ?? true {
        expected = index
      }
      let row = GuardedMatrix(values)
      #expect(maximumOfRow(row.view.base, count: count) == expected.map { values[$0] } ?? -.infinity)
      #expect(argmax(row.view.base, count: count) == expected ?? 0, "\(count) \(name)")
      #expect(argmaxReference(row.view.base, count: count) == expected ?? 0, "naive, \(count) \(name)")
    }
  }

  /// Every place of a row can hold the largest value.
  @Test func argmaxSeesEveryPlace() {
    #expect(maximumOfRow(GuardedMatrix([]).view.base, count: 0) == -.infinity)
    for count in [1, 15, 16, 17, 63, 64, 65, 130] {
      for place in 0..<count {
        let row = GuardedMatrix(columns: count) { _, column in column == place ? 1 : -1 }
        #expect(argmax(row.view.base, count: count) == place)
      }
    }
  }
}
