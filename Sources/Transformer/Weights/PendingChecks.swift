import Kernels
import Synchronization

/// When a model's weights are looked through for NaN and ∞.
public enum WeightCheck: Sendable {
  /// All of them, before the model is there.
  case whenLoaded
  /// Each when it is used for the first time, while the disk still reads what comes after it; what cannot be used as the file has
  /// it is read and looked through when the model is loaded. A session throws what `load` would have thrown at the end of the
  /// first pass that uses such a weight, and gives no scores from then on.
  case whenUsed
}

/// What has not been read yet of a model's weights: looked through, and vectors copied, right before their block is computed.
///
/// Matrices that are packed at their second product are looked through by what reads their rows, and those that are used where they
/// lie by their first product; they are only reported here.
final class PendingChecks: @unchecked Sendable {
  // Safe: what changes is under `state` or atomic, but for `stage`, which one thread sets while it loads.

  /// Reads what one parameter consists of, or tells of its first NaN or ∞.
  typealias Check = @Sendable (WorkerPool) throws -> Void

  private struct State {
    var stages: [Int: [Check]] = [:]
    var suspects: [any StoredMatrix] = []
    var error: (any Error)?
  }

  private let state = Mutex(State())
  /// Stages that need no look any more.
  private let passed = Atomic(0)
  /// Whether there is an error, or a matrix that may give one.
  private let isSuspect = Atomic(false)
  /// What is added belongs to this stage: 0 before the blocks, 1 for the first of them.
  var stage = 0
  /// The stage of what is needed when all blocks have been computed.
  static let last = Int.max - 1

  /// Remembers what is to be done before a stage is computed.
  func add(_ check: @escaping Check) {
    state.withLock { $0.stages[stage, default: []].append(check) }
  }

  /// What tells of matrices that may hold NaN or ∞: from several threads, as often as they like.
  ///
  /// One product that is not finite makes all that follow suspect, so all are remembered, each once.
  func report(of matrices: [any StoredMatrix]) -> @Sendable () -> Void {
    let told = Flag()
    return { [self] in
      guard !told.isSet.exchange(true, ordering: .relaxed) else { return }
      state.withLock { $0.suspects += matrices }
      isSuspect.store(true, ordering: .releasing)
    }
  }

  private final class Flag: Sendable {
    let isSet = Atomic(false)
  }

  /// Does what is pending up to a stage.
  ///
  /// - Parameter pool: who looks.
  /// - Returns: whether the stage can be computed.
  func pass(_ stage: Int, _ pool: @autoclosure () -> WorkerPool) -> Bool {
    guard passed.load(ordering: .acquiring) <= stage else { return true }
    let pool = pool()
    return state.withLock { state in
      for next in state.stages.keys.sorted() where next <= stage {
        for check in state.stages[next]! where state.error == nil {
          do { try check(pool) } catch { state.error = error }
        }
        if state.error == nil { state.stages[next] = nil }
      }
      guard state.error == nil else {
        isSuspect.store(true, ordering: .releasing)
        return false
      }
      passed.store(stage + 1, ordering: .releasing)
      return true
    }
  }

  /// Throws what a look has found.
  func throwIfFailed() throws {
    guard isSuspect.load(ordering: .acquiring) else { return }
    try state.withLock { state in
      if let error = state.error { throw error }
      do {
        for matrix in state.suspects { try matrix.throwNonFinite() }
      } catch {
        state.error = error
        throw error
      }
      // Too careful a look.
      state.suspects = []
      isSuspect.store(false, ordering: .releasing)
    }
  }
}
