import Testing

@testable import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

@Suite struct ActivateTests {
  private typealias Implementation = (MutableMatrixView, UnsafePointer<Float>?, Activation) -> Void
  private let implementations: [(name: String, activate: Implementation)] = [
    ("fast", activate), ("naive", activateReference),
  ]

  /// f by its definition, in forms that do not cancel.
  private func exact(_ x: Double, _ activation: Activation) -> Double {
    func gelu(_ x: Double) -> Double { x * 0.5 * erfc(-x * 0.5.squareRoot()) }
    func logistic(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
    func softplus(_ x: Double) -> Double { max(x, 0) + log1p(exp(-abs(x))) }
    return switch activation {
    case .gelu: gelu(x)
    case .geluTanh: x * logistic(2 * (2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x))
    case .geluClipped: min(gelu(x), 10)
    case .quickGELU: x * logistic(1.702 * x)
    case .relu: max(x, 0)
    case .reluSquared: max(x, 0) * max(x, 0)
    case .relu6: min(max(x, 0), 6)
    case .leakyReLU: x < 0 ? 0.01 * x : x
    case .silu: x * logistic(x)
    case .hardSwish: x * min(max(x + 3, 0), 6) / 6
    case .sigmoid: logistic(x)
    case .tanh: Glibc.tanh(x)
    case .mish: x * Glibc.tanh(softplus(x))
    case .elu: x < 0 ? expm1(x) : x
    case .laplace: 0.5 * erfc(-(x - 0.707107) / (0.282095 * 2.0.squareRoot()))
    case .squareRootSoftplus: softplus(x).squareRoot()
    case .linear: x
    }
  }

  /// The largest error in units of the bound, and where.
  private func worst(
    _ activation: Activation, _ activate: Implementation, isNaive: Bool, _ arguments: [Float]
  ) -> (ratio: Double, x: Float) {
    let row = GuardedMatrix(arguments)
    activate(row.view, nil, activation)
    var worst = (ratio: 0.0, x: Float(0))
    for (x, value) in zip(arguments, row.row(0)) {
      let at = Double(x)
      let expected = exact(at, activation)
      // A rounding of an argument on the way shifts the result by |x·f′(x)|·2⁻²⁴; eight of them, eight of results.
      // Below 1e-22 a result counts as 0.
      let step = max(abs(at), 1) * 1e-5
      let slope = (exact(at + step, activation) - exact(at - step, activation)) / (2 * step)
      // The argument that Laplace's function rounds is x less a constant.
      let sensitivity = abs(slope) * (activation == .laplace ? abs(at) + 1 : abs(at))
      var bound = 8 * (abs(expected) + sensitivity) * roundingUnit + 1e-22
      // 1 + erf and 1 + tanh cancel in the naive forms: an error of the sum is relative to 1.
      if isNaive { bound += 2 * max(1, abs(at)) * roundingUnit }
      let ratio = abs(Double(value) - expected) / bound
      if !(ratio <= worst.ratio) { worst = (ratio, x) }
    }
    return worst
  }

  @Test(arguments: Activation.allCases)
  func equalsADoubleReference(activation: Activation) {
    var random = RandomFloats(seed: 3)
    let near = (-80_000...80_000).map { Float($0) / 8000 }
    let around = (0..<50_000).map { _ in 100 * random.float() }
    let small = (0..<50_000).map { _ in
      random.float() * Float(sign: .plus, exponent: -random.integer(0..<60), significand: 1)
    }
    for (name, activate) in implementations {
      let worst = worst(activation, activate, isNaive: name == "naive", near + around + small)
      #expect(worst.ratio <= 1, "\(name) \(activation): \(worst)")
    }
  }

  @Test(arguments: Activation.allCases)
  func biasAndShapes(activation: Activation) {
    for columns in rowSizes where columns < 10_000 {
      let rows = 3
      var random = RandomFloats(seed: columns)
      let x = (0..<rows * columns).map { _ in 4 * random.float() }
      let bias = GuardedMatrix(random.floats(columns))
      for (name, activate) in implementations {
        let fused = GuardedMatrix(rows: rows, columns: columns, gap: 3) { x[$0 * columns + $1] }
        activate(fused.view, bias.view.base, activation)
        let apart = GuardedMatrix(rows: rows, columns: columns) {
          x[$0 * columns + $1] + bias.view.base[$1]
        }
        activate(apart.view, nil, activation)
        #expect((0..<rows).allSatisfy { fused.row($0) == apart.row($0) }, "\(name), \(columns) columns")
        #expect(fused.isIntact && apart.isIntact, "\(name), \(columns) columns")
        // The place of an element does not change its value.
        for index in stride(from: 0, to: columns, by: 5) {
          let alone = GuardedMatrix([x[index] + bias.view.base[index]])
          activate(alone.view, nil, activation)
          #expect(alone.row(0)[0] == fused.row(0)[index], "\(name), \(columns) columns")
        }
      }
    }
  }

  @Test(arguments: Activation.allCases)
  func extremes(activation: Activation) {
    for (name, activate) in implementations {
      let row = GuardedMatrix([.nan, .infinity, 1e30, -1e30, 0])
      activate(row.view, nil, activation)
      let values = row.row(0)
      #expect(values[0].isNaN, "\(name) \(activation): NaN stays")
      for (value, x) in zip(values.dropFirst(), [Double.infinity, 1e30, -1e30, 0]) {
        let expected = Float(exact(x, activation))
        let isNear = abs(value - expected) <= 1e-6 * abs(expected) + 1e-20
        #expect(value == expected || isNear, "\(name) \(activation) at \(x): \(value)")
      }
    }
  }

  @Test func namesAreThoseOfTransformers() {
    #expect(Activation.knownNames.count == 23)
    for name in Activation.knownNames { #expect(Activation(named: name) != nil) }
    #expect(Activation(named: "gelu_new") == .geluTanh)
    #expect(Activation(named: "swish") == .silu)
    for name in ["", "GELU", "gelu ", "prelu", "xielu", "geluTanh"] {
      #expect(Activation(named: name) == nil)
    }
  }

  /// Values of PyTorch itself (`Tests/Reference/Kernels/generate.py`).
  @Test(arguments: implementations())
  func equalsPyTorch(name: String, isNaive: Bool) throws {
    let lines = try fixture("activations.txt")
    let arguments = lines[0].values
    #expect(lines.count == 23)
    for line in lines.dropFirst() {
      let activation = try #require(Activation(named: line.name))
      let row = GuardedMatrix(arguments)
      (isNaive ? activateReference : activate)(row.view, nil, activation)
      for (index, value) in row.row(0).enumerated() {
        // Relative to x where PyTorch's 1 + erf and 1 + tanh cancel; its erf is two roundings off at −3.
        let bound = 1e-6 * abs(line.values[index]) + 2.4e-7 * abs(arguments[index]) + 1e-37
        #expect(abs(value - line.values[index]) <= bound, "\(line.name) at \(arguments[index])")
      }
    }
  }

  private static func implementations() -> [(String, Bool)] { [("fast", false), ("naive", true)] }

  /// Lines of a name and numbers in hexadecimal.
  private func fixture(_ name: String) throws -> [(name: String, values: [Float])] {
    let path = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
    let file = try #require(fopen("/\(path)/Reference/Kernels/\(name)", "r"))
    defer { fclose(file) }
    var lines: [(String, [Float])] = []
    var buffer = [CChar](repeating: 0, count: 1 << 16)
    while fgets(&buffer, Int32(buffer.count), file) != nil {
      let bytes = buffer.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }
      let text = String(decoding: bytes, as: UTF8.self)
      let fields = text.split(separator: " ")
      lines.append((String(fields[0]), try fields.dropFirst().map { try #require(Float($0)) }))
    }
    return lines
  }
}
