/// What is put around the tokens of a text when special tokens are wanted.
struct PostProcessor: Sendable {
  /// A place in the template.
  enum Item: Sendable, Equatable {
    case sequence
    case tokens([UInt32])
  }

  /// Templates applied one after another, each around what the one before made.
  var templates: [[Item]] = []

  /// The tokens as the templates arrange them.
  ///
  /// - Parameter addSpecialTokens: without it the templates' own tokens are left out, and no more than those.
  func apply(to tokens: [Int], addSpecialTokens: Bool) -> [Int] {
    var tokens = tokens
    for template in templates where template != [.sequence] {
      var next: [Int] = []
      next.reserveCapacity(tokens.count + 4)
      for item in template {
        switch item {
        case .sequence: next += tokens
        case .tokens(let ids): if addSpecialTokens { next += ids.map(Int.init) }
        }
      }
      tokens = next
    }
    return tokens
  }
}
