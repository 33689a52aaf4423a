import Testing

@testable import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Operations that not every family has, on both engines against their definitions in Double.
@Suite struct DecoderOperationTests {
  private static let engines: [any ComputeEngine] = [NaiveEngine(), BLASEngine(threadCount: 2)]
  private static let sizes = [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 768]

  /// A matrix within wider rows, whose margin must stay as it is.
  private struct Matrix {
    var values: [Float]
    let rows: Int
    let columns: Int
    let stride: Int

    init(_ random: inout RandomFloats, rows: Int, columns: Int, scale: Float = 3) {
      (self.rows, self.columns, stride) = (rows, columns, columns + 3)
      values = random.floats(rows * stride).map { $0 * scale }
    }

    subscript(row: Int, column: Int) -> Double { Double(values[row * stride + column]) }

    mutating func withView(_ body: (MutableMatrixView) -> Void) {
      values.withUnsafeMutableBufferPointer {
        body(MutableMatrixView($0.baseAddress!, rows: rows, columns: columns, rowStride: stride))
      }
    }
  }

  private func expect(
    _ result: Matrix, from original: Matrix, tolerance: Double, _ what: String, _ f: (Int, Int) -> Double
  ) {
    for row in 0..<result.rows {
      for column in 0..<result.columns {
        let expected = f(row, column)
        #expect(
          abs(result[row, column] - expected) <= tolerance * (1 + abs(expected)),
          "\(what): row \(row), column \(column) of \(result.columns)")
      }
      for column in result.columns..<result.stride {
        #expect(
          result.values[row * result.stride + column] == original.values[row * result.stride + column],
          "\(what): wrote beside its columns")
      }
    }
  }

  @Test(arguments: sizes)
  func rootMeanSquareNorm(columns: Int) {
    var random = RandomFloats(seed: columns)
    let x = Matrix(&random, rows: 5, columns: columns)
    let weight = random.floats(columns).map { 1 + $0 / 2 }
    for engine in Self.engines {
      for offset in [Float(0), 1] {
        var y = x
        weight.withUnsafeBufferPointer { weight in
          let norm = NormalizationWeight(
            kind: .rootMeanSquare, weight: weight.baseAddress!, offset: offset, epsilon: 0.01)
          y.withView { engine.normalize($0.readOnly, norm, into: $0) }
        }
        expect(y, from: x, tolerance: 2e-6, "\(engine.name), offset \(offset)") { row, column in
          let squares = (0..<columns).reduce(0.0) { $0 + x[row, $1] * x[row, $1] }
          return x[row, column] / (squares / Double(columns) + 0.01).squareRoot()
            * Double(weight[column] + offset)
        }
      }
    }
  }

  @Test(arguments: [(1, 8), (3, 5), (4, 16), (7, 33)])
  func normsOfHeads(heads: Int, dimension: Int) {
    var random = RandomFloats(seed: heads * dimension)
    let x = Matrix(&random, rows: 6, columns: heads * dimension)
    let weight = random.floats(heads * dimension).map { 1 + $0 / 2 }
    let bias = random.floats(heads * dimension)
    for engine in Self.engines {
      for stride in [0, dimension] {
        for kind in [NormalizationWeight.Kind.layerNorm, .rootMeanSquare] {
          var y = x
          weight.withUnsafeBufferPointer { weight in
            bias.withUnsafeBufferPointer { bias in
              let norm = NormalizationWeight(
                kind: kind, weight: weight.baseAddress!, bias: kind == .layerNorm ? bias.baseAddress! : nil,
                epsilon: 0.02)
              y.withView { engine.normalizeHeads($0, norm, dimension: dimension, weightStride: stride) }
            }
          }
          expect(y, from: x, tolerance: 4e-6, "\(engine.name), \(kind), stride \(stride)") { row, column in
            let head = column / dimension
            let values = (0..<dimension).map { x[row, head * dimension + $0] }
            let mean = kind == .layerNorm ? values.reduce(0, +) / Double(dimension) : 0
            let square = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(dimension)
            let place = head * stride + column % dimension
            return (x[row, column] - mean) / (square + 0.02).squareRoot() * Double(weight[place])
              + (kind == .layerNorm ? Double(bias[place]) : 0)
          }
        }
      }
    }
  }

  @Test(arguments: [(1, 2, 1), (3, 6, 3), (2, 10, 2), (5, 34, 16), (4, 64, 32), (3, 80, 40)])
  func rotation(heads: Int, dimension: Int, pairs: Int) {
    var random = RandomFloats(seed: heads * dimension)
    let x = Matrix(&random, rows: 7, columns: heads * dimension)
    var cosines = Matrix(&random, rows: 7, columns: pairs)
    var sines = Matrix(&random, rows: 7, columns: pairs)
    for engine in Self.engines {
      for pairing in [RotaryPairing.halves, .neighbours] {
        var y = x
        cosines.withView { cosines in
          sines.withView { sines in
            y.withView {
              engine.rotate(
                $0, cosines: cosines.readOnly, sines: sines.readOnly, dimension: dimension, pairing: pairing)
            }
          }
        }
        expect(y, from: x, tolerance: 2e-6, "\(engine.name), \(pairing)") { row, column in
          let (start, channel) = (column / dimension * dimension, column % dimension)
          guard channel < 2 * pairs else { return x[row, column] }
          let pair = pairing == .halves ? channel % pairs : channel / 2
          let isFirst = pairing == .halves ? channel < pairs : channel.isMultiple(of: 2)
          let other = pairing == .halves ? (isFirst ? channel + pairs : channel - pairs) : channel ^ 1
          return x[row, column] * cosines[row, pair]
            + x[row, start + other] * sines[row, pair] * (isFirst ? -1 : 1)
        }
      }
    }
  }

  @Test(arguments: Activation.allCases)
  func gating(activation: Activation) {
    var random = RandomFloats(seed: 5)
    for columns in [1, 15, 16, 37] {
      var gate = Matrix(&random, rows: 4, columns: columns)
      var up = Matrix(&random, rows: 4, columns: columns)
      let before = Matrix(&random, rows: 4, columns: columns)
      for engine in Self.engines {
        var y = before
        var alone = gate
        alone.withView { activate($0, bias: nil, activation) }
        gate.withView { gate in
          up.withView { up in
            y.withView {
              engine.activateGated(gate: gate.readOnly, up: up.readOnly, into: $0, activation: activation)
            }
          }
        }
        expect(y, from: before, tolerance: 3e-6, "\(engine.name)") { alone[$0, $1] * up[$0, $1] }
      }
    }
  }

  @Test func elementwiseOperations() {
    var random = RandomFloats(seed: 6)
    for columns in Self.sizes {
      var x = Matrix(&random, rows: 3, columns: columns)
      let y = Matrix(&random, rows: 3, columns: columns)
      for engine in Self.engines {
        var result = y
        x.withView { x in result.withView { engine.add(x.readOnly, scaledBy: 0.37, to: $0) } }
        expect(result, from: y, tolerance: 1e-6, engine.name) { y[$0, $1] + Double(Float(0.37)) * x[$0, $1] }
        result = y
        result.withView { engine.scale($0, by: 1.7) }
        expect(result, from: y, tolerance: 1e-6, engine.name) { y[$0, $1] * Double(Float(1.7)) }
        result = y
        result.withView { engine.softCap($0, cap: 1.5) }
        expect(result, from: y, tolerance: 1e-6, engine.name) { 1.5 * tanh(y[$0, $1] / 1.5) }
        result = y
        x.withView { x in result.withView { engine.copy(x.readOnly, into: $0) } }
        expect(result, from: y, tolerance: 0, engine.name) { x[$0, $1] }
        result.values[0] = .nan
        result.withView { engine.clear($0) }
        expect(result, from: y, tolerance: 0, engine.name) { _, _ in 0 }
      }
    }
  }

  @Test(arguments: [(1, 1), (4, 2), (7, 3), (8, 8)])
  func routing(experts: Int, count: Int) {
    var random = RandomFloats(seed: experts)
    let x = Matrix(&random, rows: 9, columns: experts)
    for engine in Self.engines {
      for isNormalized in [false, true] {
        var scores = x
        var shares: [ExpertShare] = []
        scores.withView { shares = engine.route($0, count: count, isNormalized: isNormalized) }
        #expect(shares.count == 9 * count)
        for row in 0..<9 {
          let weights = (0..<experts).map { exp(x[row, $0]) }
          let total = weights.reduce(0, +)
          let order = (0..<experts).sorted { weights[$0] > weights[$1] }.prefix(count)
          let chosen = order.reduce(0) { $0 + weights[$1] }
          for (share, expert) in zip(shares[row * count..<(row + 1) * count], order) {
            #expect(share.expert == expert)
            #expect(abs(Double(share.share) - weights[expert] / (isNormalized ? chosen : total)) < 1e-6)
          }
        }
      }
    }
  }

  @Test func rowsGoToExpertsAndComeBack() {
    var random = RandomFloats(seed: 8)
    var x = Matrix(&random, rows: 6, columns: 19)
    let places = [4, 0, 4, 5]
    let shares: [Float] = [0.5, -2, 0.25, 3]
    for engine in Self.engines {
      let before = Matrix(&random, rows: 4, columns: 19)
      var gathered = before
      x.withView { x in gathered.withView { engine.gather(x.readOnly, rows: places, into: $0) } }
      expect(gathered, from: before, tolerance: 0, engine.name) { x[places[$0], $1] }
      var y = x
      gathered.withView { gathered in
        y.withView { engine.scatterAdd(gathered.readOnly, rows: places, shares: shares, to: $0) }
      }
      expect(y, from: x, tolerance: 1e-6, engine.name) { row, column in
        zip(places, shares).enumerated().reduce(x[row, column]) { sum, part in
          part.element.0 == row ? sum + Double(part.element.1) * gathered[part.offset, column] : sum
        }
      }
    }
  }
}
