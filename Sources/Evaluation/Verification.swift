import JSON

/// What one comparison of a replayed case found.
public struct VerificationCheck: Sendable {
  /// How it ended.
  public enum Verdict: Sendable, Equatable {
    /// Within tolerance, or equal where equality is asked for.
    case passed
    /// Not so; says where.
    case failed(String)
    /// Not run; says why.
    case skipped(String)
  }

  /// The case.
  public let caseName: String
  /// What was compared, such as `logits, through the cache`.
  public let subject: String
  /// The largest deviation, in proportion to what is allowed; nothing where equality is asked for.
  public let largestError: Double?
  /// What is allowed there.
  public let allowed: Double?
  /// How far the distributions over the next token are apart; for logits.
  public let distance: DistributionDistance?
  /// How it ended.
  public let verdict: Verdict

  init(
    caseName: String, subject: String, largestError: Double? = nil, allowed: Double? = nil,
    distance: DistributionDistance? = nil, verdict: Verdict
  ) {
    self.caseName = caseName
    self.subject = subject
    self.largestError = largestError
    self.allowed = allowed
    self.distance = distance
    self.verdict = verdict
  }
}

/// What a reference said of a model.
public struct VerificationReport: Sendable {
  /// Every comparison, in the order of the cases.
  public let checks: [VerificationCheck]

  /// Comparisons within tolerance.
  public var passedCount: Int { checks.count { $0.verdict == .passed } }
  /// Comparisons not run.
  public var skippedCount: Int { checks.count { if case .skipped = $0.verdict { true } else { false } } }
  /// Comparisons that failed.
  public var failedCount: Int { checks.count - passedCount - skippedCount }
  /// Whether something was compared and nothing failed.
  public var holds: Bool { failedCount == 0 && passedCount > 0 }

  /// The report as one object: `holds`, `passed`, `failed`, `skipped`, `checks`.
  public var json: JSONValue {
    [
      "holds": .bool(holds), "passed": .integer(passedCount), "failed": .integer(failedCount),
      "skipped": .integer(skippedCount),
      "checks": .array(
        checks.map { check in
          let (verdict, detail): (String, JSONValue) =
            switch check.verdict {
            case .passed: ("passed", .null)
            case .failed(let place): ("failed", .string(place))
            case .skipped(let reason): ("skipped", .string(reason))
            }
          return [
            "case": .string(check.caseName), "what": .string(check.subject),
            "largest_error": check.largestError.map { .number($0) } ?? .null,
            "allowed": check.allowed.map { .number($0) } ?? .null,
            "kl_divergence": check.distance.map { .number($0.meanDivergence) } ?? .null,
            "best_token_agreement": check.distance.map { .number($0.agreement) } ?? .null,
            "verdict": .string(verdict), "detail": detail,
          ]
        }),
    ]
  }
}
