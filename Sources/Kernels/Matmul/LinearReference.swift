/// y = x·Wᵀ + b, or y += x·Wᵀ + b, as three nested loops: the naive twin of `BLASEngine.linear`.
///
/// A packed matrix is turned into floats first; activations stay as they are.
///
/// - Parameters:
///   - x: (R, inputs).
///   - y: (R, outputs).
///   - accumulate: whether to add to `y`.
func linearReference(_ x: MatrixView, _ weight: LinearWeight, into y: MutableMatrixView, accumulate: Bool) {
  if case .packed(let packed) = weight.storage {
    let values = UnsafeMutablePointer<Float>.allocate(capacity: weight.outputs * weight.inputs)
    defer { values.deallocate() }
    for output in 0..<weight.outputs { packed.copyRow(output, into: values + output * weight.inputs) }
    return linearReference(
      x,
      LinearWeight(
        values: values, bias: weight.bias, inputs: weight.inputs, outputs: weight.outputs,
        layout: .outputMajor
      ), into: y, accumulate: accumulate)
  }
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
