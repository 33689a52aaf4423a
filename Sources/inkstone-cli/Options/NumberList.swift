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
    guard !parts.contains(where: { $0 == nil || $0! < 0 }) else { return nil }
    numbers = parts.compactMap { $0 }
  }

  var defaultValueDescription: String { numbers.map(String.init).joined(separator: ",") }
}
