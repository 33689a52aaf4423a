import ArgumentParser
import Inkstone

/// Names of `--dtype` separated by commas, such as `f32,q8_0`.
struct WeightFormatList: ExpressibleByArgument {
  let formats: [WeightFormat]

  init?(argument: String) {
    let names = argument.split(separator: ",", omittingEmptySubsequences: false)
    formats = names.compactMap { WeightFormat(name: String($0.filter { $0 != " " })) }
    guard formats.count == names.count else { return nil }
  }
}
