import ArgumentParser

/// Numbers separated by commas, such as `128,512`.
struct NumberList: ExpressibleByArgument {
  let numbers: [Int]

  init(_ numbers: [Int]) {
    self.numbers = numbers
  }

  init?(argument: String) {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false).map {
      Int($0.filter { $0 != " " })
    }
    // No model comes near the upper bound, and sums of a few stay numbers.
    let numbers = parts.compactMap { $0 }.filter { (0...Int(Int32.max)).contains($0) }
    guard numbers.count == parts.count else { return nil }
    self.numbers = numbers
  }

  var defaultValueDescription: String { numbers.map(String.init).joined(separator: ",") }
}
