#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// What a rendering may cost at most; a template comes with a model, and a model comes from anywhere.
public struct TemplateLimits: Sendable {
  /// Steps of the interpreter; long texts and lists count as several.
  ///
  /// The default is some seconds' worth, far beyond any conversation that fits a context. Memory is bounded with
  /// it: a step makes at most 16 bytes.
  public var maximumSteps = 200_000_000
  /// Bytes of one text, the output among them.
  public var maximumTextLength = 1 << 28
  /// Evaluations within evaluations: nesting of expressions, blocks, macro calls and values together.
  public var maximumDepth = 10_000
  /// Containers within containers.
  public var maximumValueDepth = 500
  /// Numbers that `range` may count, as in jinja2's sandbox.
  public var maximumRange = 100_000

  /// The defaults.
  public init() {}
}

/// The time that templates print dates of.
public struct TemplateClock: Sendable {
  /// Seconds since 1970 and microseconds within the second.
  public let now: @Sendable () -> (seconds: Int, microseconds: Int)

  /// A clock of one's own, for reproducible prompts.
  public init(_ now: @escaping @Sendable () -> (seconds: Int, microseconds: Int)) {
    self.now = now
  }

  /// The computer's clock.
  public static let system = TemplateClock {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return (Int(time.tv_sec), Int(time.tv_nsec) / 1000)
  }
}
