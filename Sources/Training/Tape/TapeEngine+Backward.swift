import Kernels
import Transformer

extension TapeEngine {
  /// Takes gradients back through everything that was recorded, and forgets it.
  ///
  /// The gradients of the last results are in place. Those of weights are added to the arena of parameters; those
  /// of results vanish as soon as everything that came after them is done.
  func backward() {
    for (index, record) in records.enumerated().reversed() {
      recall(at: index)
      takeBack(record)
      arena.freeGradients(bornFrom: index)
    }
    reset()
  }

  private func takeBack(_ record: Record) {
    switch record {
    case .embed(let ids, let table, let y):
      guard let dY = arena.gradient(of: y), let dTable = parameters.gradient(of: table.base) else { return }
      embeddingBackward(
        ids, dY.readOnly, into: MutableMatrixView(dTable, rows: table.rows, columns: table.columns),
        ignoring: table.base == padding?.table ? padding?.token : nil, pool: pool)

    case .normalize(let x, let saved, let weight, let y):
      guard let dY = arena.gradient(of: y) else { return }
      let isInPlace = x.base == y.base
      let (dX, accumulate) = isInPlace ? (dY, false) : arena.gradientTarget(of: x)
      normalizeBackward(
        saved, weight, dY.readOnly, into: dX, accumulate: accumulate,
        dWeight: parameters.gradient(of: weight.weight), dBias: weight.bias.flatMap(parameters.gradient),
        pool: pool)

    case .normalizeHeads(let x, let saved, let weight, let dimension, let weightStride):
      guard let dX = arena.gradient(of: x) else { return }
      for head in 0..<x.columns / dimension {
        let columns = head * dimension..<(head + 1) * dimension
        let part = NormalizationWeight(
          kind: weight.kind, weight: weight.weight + head * weightStride,
          bias: weight.bias.map { $0 + head * weightStride }, offset: weight.offset, epsilon: weight.epsilon)
        normalizeBackward(
          saved.columns(columns), part, dX.columns(columns).readOnly, into: dX.columns(columns),
          accumulate: false, dWeight: parameters.gradient(of: part.weight),
          dBias: part.bias.flatMap(parameters.gradient), pool: pool)
      }

    case .rotate(let x, let cosines, let sines, let dimension, let pairing):
      guard let dX = arena.gradient(of: x) else { return }
      // The transpose of a rotation turns back.
      let back = arena.borrow(sines.rows, sines.columns)
      for row in 0..<sines.rows {
        for column in 0..<sines.columns { back.row(row)[column] = -sines.row(row)[column] }
      }
      engine.rotate(dX, cosines: cosines, sines: back.readOnly, dimension: dimension, pairing: pairing)
      arena.giveBack(back)

    case .linear(let x, let saved, let weight, let y, let after, let adapted):
      guard let dY = arena.gradient(of: y) else { return }
      takeBackLinear(x, saved, weight, dY, after, adapted)

    case .attention(let attention, let queries, let keys, let values, let y, let logSums):
      guard let dY = arena.gradient(of: y) else { return }
      attention.backward(
        queries: queries, keys: keys, values: values, y: y, logSums: logSums, dY: dY.readOnly,
        dQueries: arena.gradientTarget(of: queries).view, dKeys: arena.gradientTarget(of: keys).view,
        dValues: arena.gradientTarget(of: values).view, pool: pool)

    case .activateGated(let gate, let up, let y, let activation):
      guard let dY = arena.gradient(of: y) else { return }
      let dGate = arena.gradientTarget(of: gate, isWritten: true).view
      let dUp = arena.gradientTarget(of: up, isWritten: true).view
      pool.run(y.rows, grain: max(1, 8192 / max(1, y.columns))) { rows in
        gateBackward(
          gate: gate.rows(rows), up: up.rows(rows), dY.rows(rows).readOnly, dGate: dGate.rows(rows),
          dUp: dUp.rows(rows), activation)
      }

    case .copy(let x, let y):
      guard let dY = arena.gradient(of: y) else { return }
      let (dX, accumulate) = arena.gradientTarget(of: x)
      if accumulate {
        engine.add(dY.readOnly, scaledBy: 1, to: dX)
      } else {
        engine.copy(dY.readOnly, into: dX)
      }
      // What was there before has no part in what follows.
      engine.scale(dY, by: 0)

    case .add(let x, let scale, let y, let mask):
      guard let dY = arena.gradient(of: y) else { return }
      let (dX, accumulate) = arena.gradientTarget(of: x)
      if accumulate {
        let part = arena.borrow(x.rows, x.columns)
        if let mask {
          mask.apply(dY.readOnly, into: part, pool: pool)
        } else {
          engine.copy(dY.readOnly, into: part)
        }
        engine.add(part.readOnly, scaledBy: scale, to: dX)
        arena.giveBack(part)
      } else {
        if let mask {
          mask.apply(dY.readOnly, into: dX, pool: pool)
        } else {
          engine.copy(dY.readOnly, into: dX)
        }
        if scale != 1 { engine.scale(dX, by: scale) }
      }

    case .scale(let x, let scale):
      if let dX = arena.gradient(of: x) { engine.scale(dX, by: scale) }

    case .softCap(let x, let saved, let cap):
      guard let dX = arena.gradient(of: x) else { return }
      for row in 0..<x.rows {
        for column in 0..<x.columns {
          let bent = saved.row(row)[column] / cap
          dX.row(row)[column] *= 1 - bent * bent
        }
      }

    case .drop(let x, let mask):
      if let dX = arena.gradient(of: x) { mask.apply(dX.readOnly, into: dX, pool: pool) }
    }
  }

  private func takeBackLinear(
    _ x: MatrixView, _ saved: MatrixView, _ weight: LinearWeight, _ dY: MutableMatrixView,
    _ after: AfterProduct, _ adapted: [AppliedAdapter]
  ) {
    var product = dY
    var borrowed: MutableMatrixView?
    switch after {
    case .stored: break
    case .added(let mask):
      // The residual stream keeps its own gradient.
      guard let mask else { break }
      let dropped = arena.borrow(dY.rows, dY.columns)
      mask.apply(dY.readOnly, into: dropped, pool: pool)
      product = dropped
      borrowed = dropped
    case .activated(let activation, let argument):
      pool.run(dY.rows, grain: max(1, 16_384 / max(1, dY.columns))) { rows in
        activateBackward(argument.rows(rows), dY.rows(rows).readOnly, into: dY.rows(rows), activation)
      }
    }
    takeBackProduct(x, saved, weight, product.readOnly)
    for applied in adapted { takeBackAdapter(x, saved, applied, product.readOnly) }
    if let borrowed { arena.giveBack(borrowed) }
  }

  /// The gradients of a product's operands.
  func takeBackProduct(_ x: MatrixView, _ saved: MatrixView, _ weight: LinearWeight, _ dY: MatrixView) {
    if let dWeight = parameters.gradient(of: weight.values) {
      linearBackwardWeight(
        dY, saved, layout: weight.layout, into: dWeight, precision: precision, pool: pool)
    }
    if let dBias = weight.bias.flatMap(parameters.gradient) { biasBackward(dY, into: dBias, pool: pool) }
    let (dX, accumulate) = arena.gradientTarget(of: x)
    linearBackwardInput(
      dY, weight, into: dX, accumulate: accumulate, precision: precision, pool: pool)
  }

  /// The gradients of what an adapter added to a product, whose own are done: that of x is there to be added to.
  ///
  /// y += h·Bᵀ with h = s·x·Aᵀ: dB = dYᵀ·h, and with g = s·dY·B, dA = gᵀ·x and dX += g·A.
  private func takeBackAdapter(
    _ x: MatrixView, _ saved: MatrixView, _ applied: AppliedAdapter, _ dY: MatrixView
  ) {
    let adapter = applied.adapter
    let dBand = dY.columns(adapter.outputs)
    if let dB = parameters.gradient(of: adapter.b.values) {
      linearBackwardWeight(dBand, applied.low, layout: .outputMajor, into: dB, pool: pool)
    }
    let dLow = arena.borrow(dY.rows, adapter.a.outputs)
    linearBackwardInput(dBand, adapter.b, into: dLow, accumulate: false, pool: pool)
    engine.scale(dLow, by: adapter.scale)
    let dX = arena.gradientTarget(of: x).view
    let dA = parameters.gradient(of: adapter.a.values)
    if let mask = applied.mask {
      let part = arena.borrow(x.rows, x.columns)
      mask.apply(saved, into: part, pool: pool)
      if let dA {
        linearBackwardWeight(dLow.readOnly, part.readOnly, layout: .outputMajor, into: dA, pool: pool)
      }
      linearBackwardInput(dLow.readOnly, adapter.a, into: part, accumulate: false, pool: pool)
      mask.apply(part.readOnly, into: part, pool: pool)
      engine.add(part.readOnly, scaledBy: 1, to: dX)
      arena.giveBack(part)
    } else {
      if let dA { linearBackwardWeight(dLow.readOnly, saved, layout: .outputMajor, into: dA, pool: pool) }
      linearBackwardInput(dLow.readOnly, adapter.a, into: dX, accumulate: true, pool: pool)
    }
    arena.giveBack(dLow)
  }
}

extension MatrixView {
  /// A band of columns of this matrix.
  /// - Precondition: the band lies within the matrix.
  func columns(_ range: Range<Int>) -> MatrixView {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= columns, "columns \(range) of a matrix that has \(columns)"
    )
    return MatrixView(base + range.lowerBound, rows: rows, columns: range.count, rowStride: rowStride)
  }
}
