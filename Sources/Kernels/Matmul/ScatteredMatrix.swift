import Synchronization

/// A matrix of floats whose outputs lie in several places of a file: queries, keys and values, or a gate and what it gates.
///
/// Products of a few rows read each part where it lies. Products of many want one matrix; the first of them makes a copy, which is
/// all that is read from then on. So the first token does not wait for new memory, which takes longer to get than to fill.
public final class ScatteredMatrix: @unchecked Sendable {
  // Safe: nothing writes to the parts; the copy is written before its address is, under `making`, and never again.

  /// Some outputs that follow one another.
  public struct Part: @unchecked Sendable {
    /// (outputs, inputs).
    public let values: UnsafePointer<Float>
    /// Channels out.
    public let outputs: Int

    /// Describes a part.
    public init(values: UnsafePointer<Float>, outputs: Int) {
      self.values = values
      self.outputs = outputs
    }
  }

  /// The parts, in the order of their outputs.
  let parts: [Part]
  /// Channels in.
  let inputs: Int
  /// Channels out.
  let outputs: Int

  private let release: @Sendable () -> Void
  private let copy = Atomic<UnsafeMutableRawPointer?>(nil)
  private let making = Mutex(())

  /// Describes a matrix.
  ///
  /// - Parameters:
  ///   - parts: in the order of their outputs, at least one.
  ///   - release: called when the parts will not be read again.
  /// - Precondition: the extents are positive, and the owners of the parts' memory outlive the matrix.
  public init(_ parts: [Part], inputs: Int, release: @escaping @Sendable () -> Void) {
    outputs = parts.reduce(0) { $0 + $1.outputs }
    precondition(inputs > 0 && outputs > 0, "a map from \(inputs) to \(outputs) channels")
    self.parts = parts
    self.inputs = inputs
    self.release = release
  }

  deinit { copy.load(ordering: .acquiring)?.deallocate() }

  /// The copy, (outputs, inputs), if there is one.
  var whole: UnsafePointer<Float>? {
    copy.load(ordering: .acquiring).map { UnsafePointer($0.assumingMemoryBound(to: Float.self)) }
  }

  /// One row where it lies, (inputs).
  package func row(_ output: Int) -> UnsafePointer<Float> {
    if let whole { return whole + output * inputs }
    var first = 0
    for part in parts {
      if output < first + part.outputs { return part.values + (output - first) * inputs }
      first += part.outputs
    }
    preconditionFailure("row \(output) of a matrix that has \(outputs)")
  }

  /// The copy, which is made if there is none.
  /// - Parameter pool: who copies; the caller alone where not given.
  func makeWhole(_ pool: WorkerPool? = nil) -> UnsafePointer<Float> {
    if let whole { return whole }
    return making.withLock { _ in
      if let whole { return whole }
      let memory = allocateWeights(byteCount: outputs * inputs * MemoryLayout<Float>.stride)
      let target = memory.bindMemory(to: Float.self, capacity: outputs * inputs)
      var first = 0
      for part in parts {
        func copy(_ rows: Range<Int>) {
          (target + (first + rows.lowerBound) * inputs).update(
            from: part.values + rows.lowerBound * inputs, count: rows.count * inputs)
        }
        // New memory is cleared as it is touched, which takes the system longer than the copy.
        if let pool {
          pool.run(part.outputs, grain: max(1, 262_144 / inputs), copy)
        } else {
          copy(0..<part.outputs)
        }
        first += part.outputs
      }
      copy.store(memory, ordering: .releasing)
      release()
      return UnsafePointer(target)
    }
  }
}
