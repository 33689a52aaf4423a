import Testing

@testable import Kernels

@Suite struct ScatteredMatrixTests {
  /// The bits of one matrix, from parts before a product of many rows and from its copy after it.
  @Test(arguments: [1, 2, 3])
  func productsAreThoseOfOneMatrix(threadCount: Int) {
    for (inputs, counts) in [(33, [17, 5, 9]), (515, [896, 128, 130]), (64, [1, 1]), (768, [700, 600])] {
      let outputs = counts.reduce(0, +)
      var random = RandomFloats(seed: inputs)
      let w = random.floats(outputs * inputs)
      let bias = random.floats(outputs)
      // Apart and in another order than in the matrix.
      var pieces: [[Float]] = []
      var first = 0
      for count in counts {
        pieces.append(Array(w[first * inputs..<(first + count) * inputs]))
        first += count
      }
      let engine = BLASEngine(threadCount: threadCount)
      let places = pieces.map { piece in
        let memory = UnsafeMutableBufferPointer<Float>.allocate(capacity: piece.count)
        _ = memory.initialize(from: piece)
        return memory
      }
      defer { for place in places { place.deallocate() } }
      let released = Counter()
      let scattered = ScatteredMatrix(
        zip(places, counts).map { .init(values: UnsafePointer($0.baseAddress!), outputs: $1) }, inputs: inputs
      ) { released.add() }
      w.withUnsafeBufferPointer { w in
        bias.withUnsafeBufferPointer { bias in
          let whole = LinearWeight(
            values: w.baseAddress!, bias: bias.baseAddress!, inputs: inputs, outputs: outputs,
            layout: .outputMajor)
          let apart = LinearWeight(scattered, bias: bias.baseAddress!)
          #expect(apart.byteCount == whole.byteCount && apart.layout == .outputMajor)
          for output in [0, counts[0] - 1, counts[0], outputs - 1] {
            #expect(scattered.row(output)[inputs - 1] == w[output * inputs + inputs - 1])
          }
          let few = fewRowsLimit(.outputMajor, precision: .f32)
          for (rows, isWhole) in [
            (1, false), (5, false), (few, false), (few + 1, true), (150, true), (1, true),
          ] {
            let x = random.floats(rows * inputs)
            let before = random.floats(rows * outputs)
            for epilogue in [LinearEpilogue.store, .add, .activate(.silu)] {
              func product(_ weight: LinearWeight) -> [Float] {
                var y = before
                x.withUnsafeBufferPointer { x in
                  y.withUnsafeMutableBufferPointer { y in
                    engine.linear(
                      MatrixView(x.baseAddress!, rows: rows, columns: inputs), weight,
                      into: MutableMatrixView(y.baseAddress!, rows: rows, columns: outputs),
                      epilogue: epilogue)
                  }
                }
                return y
              }
              #expect(product(apart) == product(whole), "\(rows) rows of \(inputs) by \(counts), \(epilogue)")
            }
            #expect((scattered.whole != nil) == isWhole, "\(rows) rows")
          }
          #expect(scattered.row(outputs - 1)[0] == w[(outputs - 1) * inputs])
          #expect(apart.values == scattered.whole)
          #expect(released.value == 1)
        }
      }
    }
  }

  /// NaN in any part is told of by the first product.
  @Test func aPartWithNaNIsTold() {
    let inputs = 40
    for bad in 0..<3 {
      for rows in [2, 90] {
        let places = (0..<3).map { part in
          let memory = UnsafeMutableBufferPointer<Float>.allocate(capacity: 8 * inputs)
          memory.initialize(repeating: part == bad ? 0 : 0.5)
          return memory
        }
        defer { for place in places { place.deallocate() } }
        places[bad][7 * inputs + 3] = .nan
        let told = Counter()
        let weight = LinearWeight(
          ScatteredMatrix(
            places.map { .init(values: UnsafePointer($0.baseAddress!), outputs: 8) }, inputs: inputs
          ) {},
          unseen: UnseenMatrix { told.add() })
        let x = [Float](repeating: 0.25, count: rows * inputs)
        var y = [Float](repeating: 0, count: rows * 24)
        for _ in 0..<2 {
          x.withUnsafeBufferPointer { x in
            y.withUnsafeMutableBufferPointer { y in
              BLASEngine(threadCount: 2).linear(
                MatrixView(x.baseAddress!, rows: rows, columns: inputs), weight,
                into: MutableMatrixView(y.baseAddress!, rows: rows, columns: 24), epilogue: .activate(.relu))
            }
          }
        }
        #expect(told.value == 1, "part \(bad), \(rows) rows")
      }
    }
  }
}
