import Synchronization

/// A wish to stop, raised from anywhere (a signal handler included) and looked at once per token.
public final class InterruptionFlag: Sendable {
  private let raised = Atomic<Bool>(false)

  /// A flag that is not raised.
  public init() {}

  /// Asks for an end; lock-free.
  public func raise() { raised.store(true, ordering: .relaxed) }

  /// Makes the flag usable for the next call.
  public func lower() { raised.store(false, ordering: .relaxed) }

  /// Whether an end was asked for.
  public var isRaised: Bool { raised.load(ordering: .relaxed) }
}
