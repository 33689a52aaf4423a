import Foundation
import Synchronization

/// Something that another thread works out while its owner does something else.
final class Meanwhile<Value: Sendable>: Sendable {
  private let result = Mutex<Result<Value, any Error>?>(nil)
  private let isDone = DispatchSemaphore(value: 0)

  /// Begins.
  init(_ work: @escaping @Sendable () throws -> Value) {
    let thread = Thread { [self] in
      let found = Result { try work() }
      result.withLock { $0 = found }
      isDone.signal()
    }
    // As much as the main thread has.
    thread.stackSize = 8 << 20
    thread.start()
  }

  /// Waits for the value, or throws what the work threw.
  func value() throws -> Value {
    isDone.wait()
    isDone.signal()
    return try result.withLock { $0! }.get()
  }
}
