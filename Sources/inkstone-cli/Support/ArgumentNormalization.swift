/// Spellings that people bring from other tools, turned into those that the parser declares.
enum ArgumentNormalization {
  /// Rewrites the arguments of the process.
  ///
  /// - `_` stands for `-` in the name of a long flag (`--max_length`).
  /// - `--early-stopping` without a value means `true`.
  /// - A negative number after a flag is its value and not another flag.
  /// - What follows `--` is left alone.
  static func normalize(_ arguments: [String]) -> [String] {
    var result: [String] = []
    var index = 0
    while index < arguments.count {
      let argument = arguments[index]
      index += 1
      if argument == "--" {
        result += arguments[(index - 1)...]
        break
      }
      guard argument.hasPrefix("--") else {
        if let flag = result.last, flag.hasPrefix("-"), !flag.contains("="), isNegativeNumber(argument) {
          result[result.count - 1] = "\(flag)=\(argument)"
        } else {
          result.append(argument)
        }
        continue
      }
      let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = String(parts[0]).replacing("_", with: "-")
      result.append(parts.count == 2 ? "\(name)=\(parts[1])" : name)
      if name == "--early-stopping", parts.count == 1 {
        let next = index < arguments.count ? arguments[index].lowercased() : ""
        if !["true", "false", "never"].contains(next) { result.append("true") }
      }
    }
    return result
  }

  private static func isNegativeNumber(_ text: String) -> Bool {
    text.hasPrefix("-") && Double(text) != nil
      && text.dropFirst().first.map { "0123456789.".contains($0) } == true
  }
}
