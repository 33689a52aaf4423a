/// y = x·Wᵀ + b, or y += x·Wᵀ + b, as three nested loops: the naive twin of `BLASEngine.linear`.
///
/// The rows of a packed matrix are turned into floats one by one; activations stay as they are.
///
/// - Parameters:
///   - x: (R, inputs).
///   - y: (R, outputs).
///   - accumulate: whether to add to `y`.
func linearReference(_ x: MatrixView, _ weight: LinearWeight, into y: MutableMatrixView, accumulate: Bool) {
  if case .packed(let packed) = weight.storage {
    var values = [Float](repeating: 0, count: weight.inputs)
    // Reading single rows of what is not packed takes as long as packing their tiles.
    for part in packed.parts { part.packNow() }
    for output in 0..<weight.outputs {
      packed.copyRow(output, into: &values)
      for row in 0..<x.rows {
        var sum: Float = 0
        for input in 0..<weight.inputs { sum += x.row(row)[input] * values[input] }
        if let bias = weight.bias { sum += bias[output] }
        y.row(row)[output] = accumulate ? y.row(row)[output] + sum : sum
      }
    }
    return
  }
  let (stepInput, stepOutput) =
    weight.layout == .outputMajor ? (1, weight.inputs) : (weight.outputs, 1)
  let values = weight.values
  for row in 0..<x.rows {
    let source = x.row(row)
    let target = y.row(row)
    for output in 0..<weight.outputs {
      var sum: Float = 0
      for input in 0..<weight.inputs {
        sum += source[input] * values[output * stepOutput + input * stepInput]
      }
      if let bias = weight.bias { sum += bias[output] }
      target[output] = accumulate ? target[output] + sum : sum
    }
  }
}
