import Synchronization

/// The first error of tasks that run at the same time.
final class FirstFailure: Sendable {
  private let first = Mutex<(any Error)?>(nil)

  /// Whether there was one.
  var hasFailed: Bool { first.withLock { $0 != nil } }
  /// The first one.
  var error: (any Error)? { first.withLock { $0 } }

  func set(_ error: any Error) { first.withLock { $0 = $0 ?? error } }
}
