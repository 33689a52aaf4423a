import CIntrinsics
import Synchronization
import Testing

@testable import Checkpoints
@testable import Kernels

extension WeightType {
  var tensorType: TensorType {
    switch self {
    case .f16: .f16
    case .bf16: .bf16
    case .q8_0: .q8_0
    case .q4_0: .q4_0
    case .q5_0: .q5_0
    case .q4_K: .q4_k
    case .q5_K: .q5_k
    case .q6_K: .q6_k
    }
  }
}

/// A matrix of random blocks, as a file would hold it, and what `Checkpoints` reads from it.
private struct StoredMatrix {
  let type: WeightType
  let outputs: Int
  let inputs: Int
  let bytes: [UInt8]
  let values: [Float]

  init(_ type: WeightType, outputs: Int, inputs: Int, seed: Int) {
    var random = RandomFloats(seed: seed)
    let blocks = outputs * inputs / type.elementsPerBlock
    var bytes = [UInt8](repeating: 0, count: blocks * type.bytesPerBlock)
    for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: random.next()) }
    for block in 0..<blocks {
      func half(_ offset: Int, _ value: Float) {
        let bits =
          type == .bf16 ? UInt16(truncatingIfNeeded: value.bitPattern >> 16) : Float16(value).bitPattern
        bytes[block * type.bytesPerBlock + offset] = UInt8(truncatingIfNeeded: bits)
        bytes[block * type.bytesPerBlock + offset + 1] = UInt8(truncatingIfNeeded: bits >> 8)
      }
      half(type == .q6_K ? 208 : 0, random.float() * 0.1)
      if type == .q4_K || type == .q5_K { half(2, random.float() * 0.1) }
    }
    self.type = type
    self.outputs = outputs
    self.inputs = inputs
    self.bytes = bytes
    values = bytes.withUnsafeBytes { source in
      (0..<blocks).flatMap { block -> [Float] in
        let start = source.baseAddress! + block * type.bytesPerBlock
        if type == .f16 { return [Float(Float16(bitPattern: start.loadUnaligned(as: UInt16.self)))] }
        if type == .bf16 { return [Float(bitPattern: UInt32(start.loadUnaligned(as: UInt16.self)) << 16)] }
        var out = [Float](repeating: 0, count: type.elementsPerBlock)
        BlockDecoding.decode(type.tensorType, start, into: &out, blocks: 1)
        return out
      }
    }
  }

  /// The same, packed at its second product.
  func deferred(release: @escaping @Sendable (Range<Int>) -> Void = { _ in }) -> PackedMatrix {
    let rowBytes = inputs / type.elementsPerBlock * type.bytesPerBlock
    return PackedMatrix(
      type: type, outputs: outputs, inputs: inputs,
      rows: { [bytes] range, target in
        bytes.withUnsafeBytes {
          target.copyMemory(
            from: $0.baseAddress! + range.lowerBound * rowBytes, byteCount: range.count * rowBytes)
        }
      }, release: release)
  }

  func packed(threads: Int = 2) throws -> PackedMatrix {
    let rowBytes = inputs / type.elementsPerBlock * type.bytesPerBlock
    return try PackedMatrix(
      type: type, outputs: outputs, inputs: inputs, pool: WorkerPool(threadCount: threads)
    ) { range, target in
      bytes.withUnsafeBytes {
        target.copyMemory(
          from: $0.baseAddress! + range.lowerBound * rowBytes, byteCount: range.count * rowBytes)
      }
    }
  }
}

private func run(
  _ engine: any ComputeEngine, _ x: GuardedMatrix, _ weight: PackedWeight, bias: [Float]? = nil,
  epilogue: LinearEpilogue = .store, before: Float = 0
) -> GuardedMatrix {
  let y = GuardedMatrix(rows: x.view.rows, columns: weight.outputs, gap: 3) { _, _ in before }
  (bias ?? [0]).withUnsafeBufferPointer { values in
    engine.linear(
      x.view.readOnly, LinearWeight(weight, bias: bias == nil ? nil : values.baseAddress!), into: y.view,
      epilogue: epilogue)
  }
  return y
}

@Suite struct PackedLinearTests {
  static let shapes = [
    (1, 256, 1), (1, 512, 33), (2, 256, 31), (5, 768, 65), (6, 256, 32), (13, 512, 100), (45, 512, 70),
  ]

  /// Before it is packed, while it is, and after.
  @Test(arguments: WeightType.allCases)
  func deferredMatrixGivesTheSameBits(type: WeightType) throws {
    for (rows, inputs, outputs) in [(1, 256, 70), (2, 512, 32), (7, 256, 33), (64, 512, 97)] {
      let stored = StoredMatrix(type, outputs: outputs, inputs: inputs, seed: rows + outputs)
      var random = RandomFloats(seed: rows)
      let x = GuardedMatrix(&random, rows: rows, columns: inputs)
      for rounds in [false, true] {
        let expected = run(
          BLASEngine(threadCount: 2), x, PackedWeight([try stored.packed()], roundsActivations: rounds))
        let released = Mutex<[Range<Int>]>([])
        let deferred = stored.deferred { range in released.withLock { $0.append(range) } }
        for use in 0..<3 {
          var row = [Float](repeating: .nan, count: inputs)
          deferred.copyRow(outputs - 1, into: &row)
          #expect(row == Array(stored.values.suffix(inputs)), "\(type) before use \(use)")
          // Matrix registers read a matrix in another order than it is packed.
          let packsAtOnce = type == .bf16 && rounds && AMX.isInUse
          #expect(deferred.isPacked == (use > 1 || packsAtOnce && use > 0), "\(type) before use \(use)")
          let y = run(
            BLASEngine(threadCount: 2), x, PackedWeight([deferred], roundsActivations: rounds))
          #expect(y.isIntact)
          let isSame = (0..<rows).allSatisfy { y.row($0) == expected.row($0) }
          #expect(isSame, "\(type) \(rows)×\(inputs)×\(outputs), use \(use)")
        }
        #expect(released.withLock { $0.last } == 0..<outputs)
      }
    }
  }

  /// More rows than go through scratch once: it is packed first.
  @Test func manyRowsPackAtOnce() throws {
    let stored = StoredMatrix(.q8_0, outputs: 40, inputs: 64, seed: 1)
    var random = RandomFloats(seed: 2)
    let x = GuardedMatrix(&random, rows: 600, columns: 64)
    let deferred = stored.deferred()
    let y = run(BLASEngine(threadCount: 2), x, PackedWeight([deferred]))
    #expect(deferred.isPacked)
    let expected = run(BLASEngine(threadCount: 1), x, PackedWeight([try stored.packed()]))
    let isSame = (0..<600).allSatisfy { y.row($0) == expected.row($0) }
    #expect(isSame)
  }

  /// Engines that share a matrix find it in any state.
  @Test func severalThreadsUseADeferredMatrix() async throws {
    let stored = StoredMatrix(.q4_K, outputs: 100, inputs: 256, seed: 5)
    var random = RandomFloats(seed: 6)
    let values = random.floats(3 * 256)
    func product(_ matrix: PackedMatrix) -> [[Float]] {
      let x = GuardedMatrix(rows: 3, columns: 256) { values[$0 * 256 + $1] }
      let y = run(BLASEngine(threadCount: 2), x, PackedWeight([matrix]))
      return (0..<3).map { y.row($0) }
    }
    let expected = product(try stored.packed())
    for _ in 0..<20 {
      let deferred = stored.deferred()
      await withTaskGroup(of: Bool.self) { group in
        for _ in 0..<4 { group.addTask { product(deferred) == expected && product(deferred) == expected } }
        for await isSame in group { #expect(isSame) }
      }
      #expect(deferred.isPacked)
    }
  }

  @Test(arguments: WeightType.allCases)
  func readsBackWhatTheFileHolds(type: WeightType) throws {
    for (outputs, inputs) in [(1, 256), (32, 512), (77, 768)] {
      let stored = StoredMatrix(type, outputs: outputs, inputs: inputs, seed: outputs)
      let packed = try stored.packed()
      for output in 0..<outputs {
        var row = [Float](repeating: .nan, count: inputs)
        packed.copyRow(output, into: &row)
        #expect(row == Array(stored.values[output * inputs..<(output + 1) * inputs]), "\(type) row \(output)")
      }
    }
  }

  /// Activations that 8 bits and bfloat16 hold exactly: only the sums of floats round.
  ///
  /// n·2⁻²³ of the sum of magnitudes bounds those, the products and the minima, which count as magnitudes of their own.
  @Test(arguments: WeightType.allCases)
  func equalsADoubleReference(type: WeightType) throws {
    let engines: [any ComputeEngine] = [
      NaiveEngine(), BLASEngine(threadCount: 1), BLASEngine(threadCount: 2),
    ]
    for (rows, inputs, outputs) in PackedLinearTests.shapes {
      let stored = StoredMatrix(type, outputs: outputs, inputs: inputs, seed: rows * 7 + inputs)
      let packed = try stored.packed()
      var random = RandomFloats(seed: rows + outputs)
      let x = GuardedMatrix(rows: rows, columns: inputs, gap: 2) { _, column in
        // The first of each block is the largest, so that a step is a power of two.
        column % 32 == 0 ? 127 * 0x1p-6 : Float(random.integer(-127..<128)) * 0x1p-6
      }
      let bias = random.floats(outputs)
      for engine in engines {
        for rounds in [false, true] {
          for epilogue in [LinearEpilogue.store, .add, .activate(.relu)] {
            let y = run(
              engine, x, PackedWeight([packed], roundsActivations: rounds), bias: bias, epilogue: epilogue,
              before: 0.5)
            #expect(y.isIntact)
            for row in 0..<rows {
              let source = x.row(row)
              let result = y.row(row)
              for output in 0..<outputs {
                var sum = Double(bias[output]) + (epilogue == .add ? 0.5 : 0)
                var magnitude = 1.5
                for input in 0..<inputs {
                  let weight = stored.values[output * inputs + input]
                  sum += Double(source[input]) * Double(weight)
                  // An element with a minimum is a difference of two that are larger: at most 0.1·63·15 (31) and 0.1·63.
                  magnitude +=
                    Double(source[input].magnitude)
                    * (type == .q4_K ? 100 : type == .q5_K ? 200 : Double(weight.magnitude))
                }
                if case .activate = epilogue { sum = max(sum, 0) }
                let error = abs(Double(result[output]) - sum)
                #expect(
                  error <= magnitude * Double(inputs) * 0x1p-23,
                  "\(engine.name) \(type) \(rows)×\(inputs)×\(outputs) \(epilogue) at \(row), \(output)")
              }
            }
          }
        }
      }
    }
  }

  /// Any activations: 8 bits err by half a step of the block's largest, bfloat16 by 2⁻⁸ of each.
  @Test(arguments: WeightType.allCases)
  func roundsActivationsNoMoreThanItMust(type: WeightType) throws {
    let (rows, inputs, outputs) = (7, 512, 40)
    let stored = StoredMatrix(type, outputs: outputs, inputs: inputs, seed: 3)
    let packed = try stored.packed()
    var random = RandomFloats(seed: 4)
    let x = GuardedMatrix(rows: rows, columns: inputs) { _, _ in random.float() * 3 }
    let y = run(BLASEngine(threadCount: 1), x, PackedWeight([packed], roundsActivations: true))
    for row in 0..<rows {
      let source = x.row(row)
      let result = y.row(row)
      let largest = (0..<inputs / 32).map { block in
        Double(source[block * 32..<block * 32 + 32].map(\.magnitude).max()!)
      }
      for output in 0..<outputs {
        var (sum, bound) = (0.0, 1e-3)
        for input in 0..<inputs {
          let weight = Double(stored.values[output * inputs + input])
          let value = Double(source[input])
          sum += value * weight
          bound +=
            abs(weight)
            * (type.isQuantized ? largest[input / 32] / 254 : type == .bf16 ? abs(value) / 256 : 0)
        }
        #expect(abs(Double(result[output]) - sum) <= bound * 1.001, "\(type) at \(row), \(output)")
      }
    }
  }

  @Test(arguments: WeightType.allCases)
  func neitherNeighboursNorThreadsChangeABit(type: WeightType) throws {
    let (rows, inputs, outputs) = (270, 256, 2100)
    let packed = PackedWeight(
      [try StoredMatrix(type, outputs: outputs, inputs: inputs, seed: 9).packed()], roundsActivations: true)
    var random = RandomFloats(seed: 10)
    let x = GuardedMatrix(rows: rows, columns: inputs) { _, _ in random.float() }
    let together = run(BLASEngine(threadCount: 1), x, packed)
    let shared = run(BLASEngine(threadCount: 3), x, packed)
    for row in 0..<rows { #expect(together.row(row) == shared.row(row)) }
    for row in [0, 3, 251, 252, 269] {
      let alone = run(BLASEngine(threadCount: 2), GuardedMatrix(x.row(row)), packed)
      #expect(alone.row(0) == together.row(row), "\(type) row \(row)")
    }
  }

  @Test func joinsPartsOfSeveralTypes() throws {
    let parts = [
      StoredMatrix(.q4_0, outputs: 40, inputs: 256, seed: 1), .init(.q6_K, outputs: 7, inputs: 256, seed: 2),
    ]
    let weight = PackedWeight(try parts.map { try $0.packed() })
    let x = GuardedMatrix(rows: 2, columns: 256) { row, column in Float((row + 3 * column) % 11) - 5 }
    let naive = run(NaiveEngine(), x, weight)
    let fast = run(BLASEngine(threadCount: 2), x, weight)
    for row in 0..<2 {
      for output in 0..<47 {
        // Blocks of 32 whose largest is 5: half a step of 5/127 for each of 256 weights below 13.
        #expect(abs(naive.row(row)[output] - fast.row(row)[output]) < 256 * 13 * 2.5 / 127)
      }
    }
  }

  @Test func oddRowsOfSixteenBits() throws {
    for type in [WeightType.f16, .bf16] {
      for inputs in [1, 7, 33] {
        let stored = StoredMatrix(type, outputs: 35, inputs: inputs, seed: inputs)
        let packed = try stored.packed()
        let x = GuardedMatrix(rows: 3, columns: inputs) { row, column in Float(row + column % 3) }
        for rounds in [false, true] {
          let y = run(BLASEngine(threadCount: 1), x, PackedWeight([packed], roundsActivations: rounds))
          for row in 0..<3 {
            for output in 0..<35 {
              let sum = (0..<inputs).reduce(0.0) {
                $0 + Double(x.row(row)[$1]) * Double(stored.values[output * inputs + $1])
              }
              #expect(abs(Double(y.row(row)[output]) - sum) < 1e-5)
            }
          }
        }
      }
    }
  }

  @Test func infinityAndNaNAreSeen() throws {
    let packed = PackedWeight([try StoredMatrix(.q8_0, outputs: 3, inputs: 64, seed: 1).packed()])
    for bad in [Float.nan, .infinity] {
      let x = GuardedMatrix(rows: 1, columns: 64) { _, column in column == 40 ? bad : 1 }
      #expect(run(BLASEngine(threadCount: 1), x, packed).row(0).allSatisfy { !$0.isFinite })
    }
  }

  /// The build's instruction against plain C over the whole range of bytes.
  @Test func dotsOfBytesAreExact() {
    var random = RandomFloats(seed: 11)
    for _ in 0..<2000 {
      var (a, b, sum) = (SIMD16<UInt32>.zero, SIMD16<UInt32>.zero, SIMD16<Int32>.zero)
      for lane in 0..<16 {
        a[lane] = UInt32(truncatingIfNeeded: random.next())
        b[lane] = UInt32(truncatingIfNeeded: random.next())
        sum[lane] = Int32(truncatingIfNeeded: random.next() % 1000)
      }
      if random.integer(0..<4) == 0 { (a, b) = (.init(repeating: .max), .init(repeating: 0x8080_8080)) }
      var expected = sum
      for lane in 0..<16 {
        for byte in 0..<4 {
          let left = Int32(a[lane] >> UInt32(8 * byte) & 255)
          expected[lane] += left * Int32(Int8(truncatingIfNeeded: b[lane] >> UInt32(8 * byte)))
        }
      }
      #expect(ink_dot_bytes16(sum, a, b) == expected)
      #expect(ink_dot_bytes16_portable(sum, a, b) == expected)
    }
  }

  @Test func fallsBackWhereBlocksDoNotFit() {
    #expect(WeightType.q4_K.fitting(inputs: 768) == .q4_K)
    #expect(WeightType.q4_K.fitting(inputs: 96) == .q5_0)
    #expect(WeightType.q6_K.fitting(inputs: 96) == .q8_0)
    #expect(WeightType.q4_K.fitting(inputs: 90) == .f16)
  }
}
