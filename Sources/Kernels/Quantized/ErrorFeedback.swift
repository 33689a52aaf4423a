/// Rounds matrices to blocks column by column, and lets the columns to come make up for each column's error.
///
/// With H = Σ x·xᵀ over inputs x of the map, a change δ of a row of W costs δ·H·δᵀ. Once a column is rounded, the best
/// change of those after it is −error/U[j, j]·U[j, j+1…], where H⁻¹ = Uᵀ·U.
///
/// - SeeAlso: Frantar et al., "GPTQ" (arXiv:2210.17323).
public enum ErrorFeedback {
  /// The types of blocks that columns are rounded to.
  public static let types: [WeightType] = [.q8_0, .q4_0]

  /// Columns that are rounded before the rest of a row hears of their errors, in one product.
  private static let band = 128

  /// Replaces H by U, upper triangular, with (H + damping·mean(diagonal)·I)⁻¹ = Uᵀ·U.
  ///
  /// Inputs that are always 0 get a place of their own, so that they neither take up nor cause an error. What cannot be
  /// factorised for rounding is damped more, tenfold each time.
  ///
  /// - Parameter hessian: (count, count), symmetric.
  /// - Returns: false when no damping helps, as with NaN.
  public static func factorize(
    _ hessian: UnsafeMutablePointer<Float>, count: Int, damping: Float = 0.01
  ) -> Bool {
    precondition(count > 0 && damping > 0, "a Hessian of \(count) inputs damped by \(damping)")
    var sum = 0.0
    for index in 0..<count { sum += Double(hessian[index * count + index]) }
    let mean = Float(sum / Double(count))
    guard mean.isFinite else { return false }
    let unit = mean > 0 ? mean : 1
    for index in 0..<count where hessian[index * count + index] <= 0 {
      for other in 0..<count {
        hessian[index * count + other] = 0
        hessian[other * count + index] = 0
      }
      hessian[index * count + index] = unit
    }
    let original = UnsafeMutablePointer<Float>.allocate(capacity: count * count)
    defer { original.deallocate() }
    original.update(from: hessian, count: count * count)
    for factor in [damping, 10 * damping, 100 * damping] {
      for index in 0..<count { hessian[index * count + index] += factor * unit }
      if LAPACK.cholesky(hessian, count: count), LAPACK.invertFromCholesky(hessian, count: count),
        LAPACK.cholesky(hessian, count: count)
      {
        return true
      }
      hessian.update(from: original, count: count * count)
    }
    return false
  }

  /// Rounds a matrix.
  ///
  /// - Parameters:
  ///   - weights: (outputs, inputs); becomes what the blocks say.
  ///   - factor: U of `factorize`, (inputs, inputs); what is below the diagonal is not read.
  ///   - type: one of `types`.
  ///   - blocks: receives the rows' blocks, one after the other, as a file has them.
  ///   - pool: threads that share the rows.
  public static func round(
    _ weights: UnsafeMutablePointer<Float>, outputs: Int, inputs: Int, factor: UnsafePointer<Float>,
    as type: WeightType, into blocks: UnsafeMutableRawPointer, pool: WorkerPool
  ) {
    precondition(types.contains(type), "\(type) is not rounded with feedback")
    precondition(
      outputs > 0 && inputs > 0 && inputs.isMultiple(of: 32), "a map from \(inputs) to \(outputs) channels")
    // How much an error in a column costs that none after it can make up for.
    let costs = UnsafeMutablePointer<Float>.allocate(capacity: inputs)
    defer { costs.deallocate() }
    for input in 0..<inputs {
      let diagonal = factor[input * inputs + input]
      costs[input] = 1 / (diagonal * diagonal)
    }
    let rowsPerTask = 32
    pool.run((outputs + rowsPerTask - 1) / rowsPerTask) { task in
      let rows = task * rowsPerTask..<min((task + 1) * rowsPerTask, outputs)
      withUnsafeTemporaryAllocation(of: Float.self, capacity: rowsPerTask * band) { errors in
        for start in stride(from: 0, to: inputs, by: band) {
          let end = min(start + band, inputs)
          for row in rows {
            roundBand(
              weights + row * inputs, start..<end, factor: factor, inputs: inputs, costs: costs, as: type,
              errors: errors.baseAddress! + (row - rows.lowerBound) * band,
              blocks: blocks + row * (inputs / 32 * type.bytesPerBlock))
          }
          BLAS.multiply(
            m: rows.count, n: inputs - end, k: end - start, a: errors.baseAddress!, strideA: band,
            b: factor + start * inputs + end, strideB: inputs, beta: 1,
            c: weights + rows.lowerBound * inputs + end, strideC: inputs)
        }
      }
    }
  }

  /// Rounds some columns of one row, and leaves their errors, negative and divided by the diagonal.
  private static func roundBand(
    _ row: UnsafeMutablePointer<Float>, _ columns: Range<Int>, factor: UnsafePointer<Float>, inputs: Int,
    costs: UnsafePointer<Float>, as type: WeightType, errors: UnsafeMutablePointer<Float>,
    blocks: UnsafeMutableRawPointer
  ) {
    var scale: Float = 0
    for column in columns {
      let place = column % 32
      let block = blocks + column / 32 * type.bytesPerBlock
      if place == 0 {
        // The scale is chosen of what the errors so far have made of the block.
        let half =
          type == .q4_0 ? scale4(row + column, costs: costs + column) : Float16(largest(row + column) / 127)
        block.storeBytes(of: half.bitPattern.littleEndian, as: UInt16.self)
        scale = Float(half)
      }
      let value = row[column]
      let most: Float = type == .q4_0 ? 7 : 127
      let least: Float = type == .q4_0 ? -8 : -127
      let quotient = scale == 0 ? 0 : (value / scale).rounded(.toNearestOrEven)
      let quant = quotient >= least ? min(quotient, most) : least
      if type == .q4_0 {
        // The first 16 are the low halves, the last 16 the high ones.
        let byte = block.load(fromByteOffset: 2 + place % 16, as: UInt8.self)
        let bits = UInt8(quant + 8)
        block.storeBytes(
          of: place < 16 ? bits : byte | bits << 4, toByteOffset: 2 + place % 16, as: UInt8.self)
      } else {
        block.storeBytes(of: Int8(quant), toByteOffset: 2 + place, as: Int8.self)
      }
      row[column] = scale * quant
      let line = factor + column * inputs
      let error = (row[column] - value) / line[column]
      errors[column - columns.lowerBound] = error
      for other in column + 1..<max(columns.upperBound, column + 1) { row[other] += error * line[other] }
    }
  }

  private static func largest(_ x: UnsafePointer<Float>) -> Float {
    var largest: Float = 0
    for index in 0..<32 { largest = max(largest, x[index].magnitude) }
    return largest
  }

  /// The scale of 32 numbers for integers of −8 … 7: of some candidates the one whose least squares, weighted with the
  /// columns' costs, are least.
  private static func scale4(_ x: UnsafePointer<Float>, costs: UnsafePointer<Float>) -> Float16 {
    var largest: Float = 0
    for index in 0..<32 where x[index].magnitude > largest.magnitude { largest = x[index] }
    guard largest != 0, largest.isFinite else { return 0 }
    var best = (scale: largest / -8, gain: -Float.infinity)
    for levels in [Float(-8), 7] {
      for step in -14...10 {
        let inverse = (levels + 0.1 * Float(step) * (levels < 0 ? -1 : 1)) / largest
        var (cross, square): (Float, Float) = (0, 0)
        for index in 0..<32 {
          let nearest = (x[index] * inverse + 12_582_912) - 12_582_912
          let quant = nearest < -8 ? -8 : nearest > 7 ? 7 : nearest
          cross += costs[index] * x[index] * quant
          square += costs[index] * quant * quant
        }
        // Σc·x² − cross²/square is the error of the best scale for these integers.
        let gain = cross * (cross / square)
        if square > 0, gain > best.gain { best = (cross / square, gain) }
      }
    }
    let half = Float16(best.scale)
    return half.isFinite ? half : Float16(largest / -8)
  }
}
