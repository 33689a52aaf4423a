import Testing

@testable import Kernels

@Suite struct ActivateBackwardTests {
  /// Eight roundings of the slope and of the argument; the naive twin computes in `Double`.
  @Test(arguments: Activation.allCases)
  func equalsTheNaiveTwin(activation: Activation) {
    // No multiple of an eighth, where some functions have corners.
    let arguments = (-2600...2600).map { Float($0) / 200 + 0.0013 } + [-60, 60, 1e-6, -1e-6]
    for count in [0, 1, 15, 16, 17, arguments.count] {
      let x = GuardedMatrix(Array(arguments.prefix(count)))
      let dY = GuardedMatrix(columns: count) { 1 + Float($1 % 7) / 8 }
      let (fast, naive) = (GuardedMatrix(zeros: 1, count), GuardedMatrix(zeros: 1, count))
      activateBackward(x.view.readOnly, dY.view.readOnly, into: fast.view, activation)
      activateBackwardReference(x.view.readOnly, dY.view.readOnly, into: naive.view, activation)
      #expect(fast.isIntact)
      for (index, pair) in zip(fast.elements, naive.elements).enumerated() {
        let bound = 3e-6 * abs(pair.1) + 2e-6 * min(1, abs(arguments[index])) + 1e-7
        #expect(abs(pair.0 - pair.1) <= bound, "\(activation) at \(arguments[index])")
      }
    }
  }

  @Test func equalsPyTorch() throws {
    let arguments = try BackwardFixture.floats("activation.x")
    var compared = Set<Activation>()
    for name in Activation.knownNames where name != "elu" {
      let activation = try #require(Activation(named: name))
      let expected = try BackwardFixture.values("activation.\(name)")
      let x = GuardedMatrix(arguments)
      let dX = GuardedMatrix(columns: arguments.count) { _, _ in 1 }
      activateBackward(x.view.readOnly, dX.view.readOnly, into: dX.view, activation)
      // Constants such as 0.7978845608 differ between the names of one function.
      expectClose(dX.elements, expected, tolerance: name == "laplace" ? 2e-6 : 1e-6, name)
      compared.insert(activation)
    }
    #expect(compared.count == Activation.allCases.count - 1)
  }

  /// Against differences of the forward kernel, away from corners.
  @Test(arguments: Activation.allCases)
  func followsTheSlopesOfTheForwardKernel(activation: Activation) {
    let x = GuardedMatrix([-4.3, -2.2, -1.1, -0.3, 0.2, 0.9, 1.7, 3.4, 5.1, 7.7])
    let dX = GuardedMatrix(columns: 10) { _, _ in 1 }
    activateBackward(x.view.readOnly, dX.view.readOnly, into: dX.view, activation)
    expectSlopes(x, dX.elements, "\(activation)") {
      let y = GuardedMatrix(x.row(0))
      activate(y.view, bias: nil, activation)
      return y.elements.reduce(0) { $0 + Double($1) }
    }
  }

  @Test(arguments: [Activation.silu, .geluTanh])
  func aGateFollowsItsSlopes(activation: Activation) {
    var random = RandomFloats(seed: 31)
    let gate = GuardedMatrix(&random, rows: 3, columns: 19)
    let up = GuardedMatrix(&random, rows: 3, columns: 19)
    let dY = GuardedMatrix(&random, rows: 3, columns: 19)
    let (dGate, dUp) = (GuardedMatrix(zeros: 3, 19), GuardedMatrix(zeros: 3, 19))
    gateBackward(
      gate: gate.view.readOnly, up: up.view.readOnly, dY.view.readOnly, dGate: dGate.view, dUp: dUp.view,
      activation)
    func loss() -> Double {
      let y = GuardedMatrix(zeros: 3, 19)
      activateGated(gate: gate.view.readOnly, up: up.view.readOnly, into: y.view, activation)
      return overlap(y, dY)
    }
    expectSlopes(gate, dGate.elements, "gate", loss)
    expectSlopes(up, dUp.elements, "up", loss)
  }
}
