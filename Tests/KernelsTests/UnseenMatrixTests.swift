import Testing

@testable import Kernels

@Suite struct UnseenMatrixTests {
  /// Few rows, register tiles and packed products, and a number of rows and of channels from which AMX takes over.
  private static let shapes = [
    (1, 7, 3), (1, 768, 2304), (2, 261, 1031), (3, 33, 66), (8, 99, 1027), (17, 65, 130), (65, 40, 66),
    (140, 515, 530),
  ]

  private static func product(
    _ engine: any ComputeEngine, _ x: [Float], _ w: [Float], _ bias: [Float], _ before: [Float],
    rows: Int, inputs: Int, outputs: Int, _ layout: LinearWeight.Layout, _ epilogue: LinearEpilogue,
    unseen: UnseenMatrix?
  ) -> [Float] {
    var y = before
    x.withUnsafeBufferPointer { x in
      w.withUnsafeBufferPointer { w in
        bias.withUnsafeBufferPointer { bias in
          y.withUnsafeMutableBufferPointer { y in
            engine.linear(
              MatrixView(x.baseAddress!, rows: rows, columns: inputs),
              LinearWeight(
                values: w.baseAddress!, bias: bias.baseAddress!, inputs: inputs, outputs: outputs,
                layout: layout, unseen: unseen),
              into: MutableMatrixView(y.baseAddress!, rows: rows, columns: outputs), epilogue: epilogue)
          }
        }
      }
    }
    return y
  }

  private static let engines: [any ComputeEngine] = [
    NaiveEngine(), BLASEngine(threadCount: 1), BLASEngine(threadCount: 2),
  ]

  /// Whatever comes after the sum, wherever the number is: where it is multiplied with 0, and where ReLU makes 0 of −∞.
  @Test(arguments: [LinearWeight.Layout.outputMajor, .inputMajor])
  func theFirstProductTellsOfWhatIsNotFinite(layout: LinearWeight.Layout) {
    for (rows, inputs, outputs) in Self.shapes {
      var random = RandomFloats(seed: rows + inputs)
      let count = inputs * outputs
      for (number, place, factor) in [
        (Float.nan, 0, 0), (-.infinity, count - 1, 0), (.infinity, count / 2, 0), (-.infinity, count / 3, 0),
        (-.infinity, count - 1, 0.5), (.infinity, count / 2, -2), (.nan, count / 3, 1),
      ] as [(Float, Int, Float)] {
        var x = random.floats(rows * inputs)
        let input = layout == .outputMajor ? place % inputs : place / outputs
        for row in 0..<rows { x[row * inputs + input] = factor }
        var w = random.floats(count)
        w[place] = number
        let (bias, before) = (random.floats(outputs), random.floats(rows * outputs))
        for engine in Self.engines {
          for epilogue in [LinearEpilogue.store, .add, .activate(.relu), .activate(.gelu)] {
            let told = Counter()
            let unseen = UnseenMatrix { told.add() }
            for _ in 0..<2 {
              _ = Self.product(
                engine, x, w, bias, before, rows: rows, inputs: inputs, outputs: outputs, layout, epilogue,
                unseen: unseen)
            }
            #expect(
              told.value == 1,
              "\(number) at \(place), times \(factor), of (\(inputs), \(outputs)), \(rows) rows, \(engine.name), \(epilogue)"
            )
            #expect(!unseen.isUnseen)
          }
        }
      }
    }
  }

  /// What is finite is not told of, and the look changes no bit.
  @Test(arguments: [LinearWeight.Layout.outputMajor, .inputMajor])
  func aLookChangesNothing(layout: LinearWeight.Layout) {
    for (rows, inputs, outputs) in Self.shapes {
      var random = RandomFloats(seed: 7 * rows + inputs)
      let x = random.floats(rows * inputs)
      let w = random.floats(inputs * outputs)
      let (bias, before) = (random.floats(outputs), random.floats(rows * outputs))
      for engine in Self.engines {
        for epilogue in [LinearEpilogue.store, .add, .activate(.gelu), .activate(.silu)] {
          let told = Counter()
          func product(_ unseen: UnseenMatrix?) -> [Float] {
            Self.product(
              engine, x, w, bias, before, rows: rows, inputs: inputs, outputs: outputs, layout, epilogue,
              unseen: unseen)
          }
          #expect(
            product(UnseenMatrix { told.add() }) == product(nil),
            "(\(inputs), \(outputs)), \(rows) rows, \(engine.name), \(epilogue)")
          #expect(told.value == 0)
        }
      }
    }
  }

  /// Rows that are looked up are looked at until a product has seen them all.
  @Test func rowsAreLookedAtUntilAllWereSeen() {
    let told = Counter()
    let unseen = UnseenMatrix { told.add() }
    var values: [Float] = [1, 2, 3, 4, -.infinity, 6]
    values.withUnsafeMutableBufferPointer { buffer in
      let rows = MutableMatrixView(buffer.baseAddress!, rows: 3, columns: 2)
      unseen.lookAtRows(rows.rows(0..<2).readOnly)
      #expect(told.value == 0 && unseen.isUnseen)
      unseen.lookAtRows(rows.readOnly)
      #expect(told.value == 1 && unseen.isUnseen)
      unseen.look(at: rows.rows(0..<2))
      unseen.lookAtRows(rows.readOnly)
      #expect(told.value == 1 && !unseen.isUnseen)
    }
  }
}
