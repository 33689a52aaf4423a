/// y = x·Wᵀ + b, or y += x·Wᵀ + b, as three nested loops: the naive twin of `BLASEngine.linear`.
///
/// - Parameters:
///   - x: (R, inputs).
///   - y: (R, outputs).
///   - accumulate: whether to add to `y`.
func linearReference(_ x: MatrixView, _ weight: LinearWeight, into y: MutableMatrixView, accumulate: Bool) {
  let (stepInput, stepOutput) =
    weight.layout == .outputMajor ? (1, weight.inputs) : (weight.outputs, 1)
  for row in 0..<x.rows {
    let source = x.row(row)
    let target = y.row(row)
    for output in 0..<weight.outputs {
      var sum: Float = 0
      for input in 0..<weight.inputs {
        sum += source[input] * weight.values[output * stepOutput + input * stepInput]
      }
      if let bias = weight.bias { sum += bias[output] }
      target[output] = accumulate ? target[output] + sum : sum
    }
  }
}
