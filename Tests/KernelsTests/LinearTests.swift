import Testing

@testable import Kernels

@Suite struct LinearTests {
  /// Both engines against sums in Double; n·2⁻²⁴ times the sum of magnitudes bounds a float sum of n terms.
  @Test(arguments: [LinearWeight.Layout.outputMajor, .inputMajor])
  func equalsADoubleReference(layout: LinearWeight.Layout) {
    let engines: [any ComputeEngine] = [
      NaiveEngine(), BLASEngine(threadCount: 1), BLASEngine(threadCount: 2),
    ]
    for (rows, inputs, outputs) in [
      (1, 1, 1), (1, 7, 3), (2, 8, 9), (7, 63, 65), (9, 64, 1), (1, 65, 400), (3, 33, 1031), (1, 768, 2304),
      (5, 96, 768), (301, 9, 205),
      // The kernels for a few rows: every number of rows that they take together, sums in several parts, odd ends.
      (2, 261, 1031), (3, 130, 1030), (4, 70, 2051), (6, 301, 515), (8, 99, 1027), (12, 34, 77),
      (13, 261, 1031), (16, 130, 66), (17, 65, 130), (39, 70, 131), (61, 66, 97), (64, 131, 35), (65, 40, 66),
    ] {
      var random = RandomFloats(seed: rows * 1000 + inputs)
      let stride = outputs + 3
      let x = random.floats(rows * (inputs + 2))
      let w = random.floats(inputs * outputs)
      let bias = random.floats(outputs)
      let before = random.floats(rows * stride)
      for engine in engines {
        for (hasBias, epilogue) in [
          (true, LinearEpilogue.store), (false, .store), (true, .add), (false, .add),
          (true, .activate(.relu)),
          (false, .activate(.relu)),
        ] {
          var y = before
          x.withUnsafeBufferPointer { x in
            w.withUnsafeBufferPointer { w in
              bias.withUnsafeBufferPointer { bias in
                y.withUnsafeMutableBufferPointer { y in
                  engine.linear(
                    MatrixView(x.baseAddress!, rows: rows, columns: inputs, rowStride: inputs + 2),
                    LinearWeight(
                      values: w.baseAddress!, bias: hasBias ? bias.baseAddress! : nil, inputs: inputs,
                      outputs: outputs, layout: layout),
                    into: MutableMatrixView(y.baseAddress!, rows: rows, columns: outputs, rowStride: stride),
                    epilogue: epilogue)
                }
              }
            }
          }
          for row in 0..<rows {
            for output in 0..<stride {
              let old = before[row * stride + output]
              guard output < outputs else {
                #expect(y[row * stride + output] == old, "wrote beside its columns")
                continue
              }
              var sum = 0.0
              var magnitude = 0.0
              for input in 0..<inputs {
                let weight = w[layout == .outputMajor ? output * inputs + input : input * outputs + output]
                let term = Double(x[row * (inputs + 2) + input]) * Double(weight)
                sum += term
                magnitude += abs(term)
              }
              if hasBias { sum += Double(bias[output]) }
              if epilogue == .add { sum += Double(old) }
              if case .activate = epilogue { sum = max(sum, 0) }
              let bound = (magnitude + 2) * Double(inputs + 2) * 0x1p-24
              #expect(
                abs(Double(y[row * stride + output]) - sum) <= bound,
                "\(engine.name) \(rows)×\(inputs)×\(outputs) \(layout) \(epilogue) at \(row), \(output)")
            }
          }
        }
      }
    }
  }

  @Test(arguments: [LinearWeight.Layout.outputMajor, .inputMajor])
  func threadsChangeNoBit(layout: LinearWeight.Layout) {
    var random = RandomFloats(seed: 5)
    for (rows, inputs, outputs) in [
      (1, 768, 3072), (5, 257, 1031), (8, 300, 2050), (3, 40, 700), (16, 65, 777), (33, 96, 999),
      (600, 65, 401),
    ] {
      let x = random.floats(rows * inputs)
      let w = random.floats(inputs * outputs)
      let results = [1, 2, 3, 5, 16].map { threads -> [Float] in
        var y = [Float](repeating: 0, count: rows * outputs)
        y.withUnsafeMutableBufferPointer { y in
          x.withUnsafeBufferPointer { x in
            w.withUnsafeBufferPointer { w in
              BLASEngine(threadCount: threads).linear(
                MatrixView(x.baseAddress!, rows: rows, columns: inputs),
                LinearWeight(values: w.baseAddress!, inputs: inputs, outputs: outputs, layout: layout),
                into: MutableMatrixView(y.baseAddress!, rows: rows, columns: outputs), epilogue: .store)
            }
          }
        }
        return y
      }
      #expect(results.allSatisfy { $0 == results[0] }, "\(rows)×\(inputs)×\(outputs)")
    }
  }

  /// What the kernels for a few rows make of a row is what they make of it alone.
  @Test(arguments: [LinearWeight.Layout.outputMajor, .inputMajor])
  func rowsChangeNoBitOfEachOther(layout: LinearWeight.Layout) {
    var random = RandomFloats(seed: 6)
    let limit = fewRowsLimit(layout, precision: .f32)
    for rows in [2, 3, 4, 5, 7, 8, 13, 16, 39, 64] where rows <= limit {
      let (inputs, outputs) = (261, 1031)
      let x = random.floats(rows * inputs)
      let w = random.floats(inputs * outputs)
      func product(_ range: Range<Int>) -> [Float] {
        var y = [Float](repeating: 0, count: range.count * outputs)
        y.withUnsafeMutableBufferPointer { y in
          x.withUnsafeBufferPointer { x in
            w.withUnsafeBufferPointer { w in
              BLASEngine(threadCount: 2).linear(
                MatrixView(x.baseAddress! + range.lowerBound * inputs, rows: range.count, columns: inputs),
                LinearWeight(values: w.baseAddress!, inputs: inputs, outputs: outputs, layout: layout),
                into: MutableMatrixView(y.baseAddress!, rows: range.count, columns: outputs), epilogue: .store
              )
            }
          }
        }
        return y
      }
      let together = product(0..<rows)
      for row in 0..<rows {
        #expect(
          Array(together[row * outputs..<(row + 1) * outputs]) == product(row..<row + 1), "\(row) of \(rows)")
      }
    }
  }
}
