import Kernels
import Synchronization

extension WorkerPool {
  /// The results of `body(0)` … `body(count − 1)`, in order, computed by all threads.
  ///
  /// - Throws: the error of the smallest index, so that the number of threads does not choose it.
  func map<Result>(_ count: Int, _ body: @escaping (Int) throws -> Result) throws -> [Result] {
    guard count > 0 else { return [] }
    let tasks = min(count, 16 * threadCount)
    let results = Slots<[Result]>(tasks)
    let faults = Slots<(index: Int, error: any Error)>(tasks)
    run(tasks) { task in
      var part: [Result] = []
      let range = count * task / tasks..<count * (task + 1) / tasks
      part.reserveCapacity(range.count)
      for index in range {
        do {
          part.append(try body(index))
        } catch {
          faults.set(task, (index, error))
          return
        }
      }
      results.set(task, part)
    }
    for task in 0..<tasks { if let fault = faults.get(task) { throw fault.error } }
    return (0..<tasks).flatMap { results.get($0) ?? [] }
  }
}

/// A place for each task's result.
private final class Slots<Value>: @unchecked Sendable {
  // Safe: each task writes its own place, and they are read when all tasks are done.
  private let places: UnsafeMutablePointer<Value?>
  private let count: Int

  init(_ count: Int) {
    self.count = count
    places = .allocate(capacity: count)
    places.initialize(repeating: nil, count: count)
  }

  deinit {
    places.deinitialize(count: count)
    places.deallocate()
  }

  func set(_ index: Int, _ value: Value) { places[index] = value }
  func get(_ index: Int) -> Value? { places[index] }
}
