/// Rounds matrices to blocks column by column, and lets the columns to come make up for each column's error.
///
/// With H = Σ x·xᵀ over inputs x of the map, a change δ of a row of W costs δ·H·δᵀ. Once a column is rounded, the best
/// change of those after it is −error/U[j, j]·U[j, j+1…], where H⁻¹ = Uᵀ·U. What that leaves is then gone through again:
/// with all else held, each scale and each integer has a best value.
///
/// - SeeAlso: Frantar et al., "GPTQ" (arXiv:2210.17323).
public enum ErrorFeedback {
  /// The types of blocks that columns are rounded to.
  public static let types: [WeightType] = [.q8_0, .q4_0]

  /// Finds U, upper triangular, with (H + damping·mean(diagonal)·I)⁻¹ = Uᵀ·U.
  ///
  /// Inputs that are always 0 get a place of their own, so that they neither take up nor cause an error. What cannot be
  /// factorised for rounding is damped more, tenfold each time.
  ///
  /// - Parameters:
  ///   - hessian: (count, count), symmetric; becomes what was factorised, damped.
  ///   - factor: (count, count), receives U; what is below its diagonal is of no use.
  /// - Returns: false when no damping helps, as with NaN.
  public static func factorize(
    _ hessian: UnsafeMutablePointer<Float>, into factor: UnsafeMutablePointer<Float>, count: Int,
    damping: Float = 0.01
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
    var applied: Float = 0
    for wanted in [damping, 10 * damping, 100 * damping] {
      for index in 0..<count { hessian[index * count + index] += (wanted - applied) * unit }
      applied = wanted
      factor.update(from: hessian, count: count * count)
      if LAPACK.cholesky(factor, count: count), LAPACK.invertFromCholesky(factor, count: count),
        LAPACK.cholesky(factor, count: count)
      {
        return true
      }
    }
    return false
  }

  /// Rounds a matrix: column by column with feedback, then scales and integers one at a time.
  ///
  /// - Parameters:
  ///   - weights: (outputs, inputs); becomes what the blocks say.
  ///   - hessian: (inputs, inputs), as `factorize` leaves it.
  ///   - factor: U of `factorize`, (inputs, inputs); what is below the diagonal is not read.
  ///   - type: one of `types`.
  ///   - blocks: receives the rows' blocks, one after the other, as a file has them.
  ///   - pool: threads that share the rows.
  public static func round(
    _ weights: UnsafeMutablePointer<Float>, outputs: Int, inputs: Int, hessian: UnsafePointer<Float>,
    factor: UnsafePointer<Float>, as type: WeightType, into blocks: UnsafeMutableRawPointer, pool: WorkerPool
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
    // Enough that packing H for their products costs little beside them.
    let rowsPerTask = 96
    pool.run((outputs + rowsPerTask - 1) / rowsPerTask) { task in
      let first = task * rowsPerTask
      let rounding = RowRounding(
        weights + first * inputs, rows: min(rowsPerTask, outputs - first), inputs: inputs, hessian: hessian,
        factor: factor, costs: costs, type: type)
      rounding.feedErrorsBack()
      rounding.refine()
      rounding.write(to: blocks + first * (inputs / 32 * type.bytesPerBlock))
    }
  }
}

/// Some rows of a matrix on their way to blocks.
private final class RowRounding {
  /// Columns that are rounded, or moved, before the rest of a row hears of it, in one product.
  private static let band = 128
  /// How often all scales and integers are looked at again; later rounds find next to nothing.
  private static let rounds = 4

  private let rows: Int
  private let inputs: Int
  /// The weights as they were, (rows, inputs).
  private let original: UnsafeMutablePointer<Float>
  /// What they become: while errors are fed back, columns to come hold what those before have made of them.
  private let values: UnsafeMutablePointer<Float>
  /// The integers of the blocks, (rows, inputs).
  private let quants: UnsafeMutablePointer<Float>
  /// (rows, inputs / 32).
  private let scales: UnsafeMutablePointer<Float>
  private let hessian: UnsafePointer<Float>
  private let factor: UnsafePointer<Float>
  private let costs: UnsafePointer<Float>
  private let type: WeightType
  private let least: Float
  private let most: Float

  init(
    _ values: UnsafeMutablePointer<Float>, rows: Int, inputs: Int, hessian: UnsafePointer<Float>,
    factor: UnsafePointer<Float>, costs: UnsafePointer<Float>, type: WeightType
  ) {
    (self.values, self.rows, self.inputs) = (values, rows, inputs)
    (self.hessian, self.factor, self.costs, self.type) = (hessian, factor, costs, type)
    (least, most) = type == .q4_0 ? (-8, 7) : (-127, 127)
    original = .allocate(capacity: rows * inputs)
    original.update(from: values, count: rows * inputs)
    quants = .allocate(capacity: rows * inputs)
    scales = .allocate(capacity: rows * (inputs / 32))
  }

  deinit {
    original.deallocate()
    quants.deallocate()
    scales.deallocate()
  }

  private func quant(_ value: Float, scale: Float) -> Float {
    guard scale != 0 else { return 0 }
    let quotient = (value / scale).rounded(.toNearestOrEven)
    return quotient >= least ? min(quotient, most) : least
  }

  // MARK: Column by column

  /// Rounds columns from first to last; those after each make up for its error as well as they can.
  func feedErrorsBack() {
    let band = Self.band
    withUnsafeTemporaryAllocation(of: Float.self, capacity: rows * band) { buffer in
      let errors = buffer.baseAddress!
      for start in stride(from: 0, to: inputs, by: band) {
        let end = min(start + band, inputs)
        for row in 0..<rows { roundBand(row, start..<end, errors: errors + row * band) }
        ProductPrecision.f32.multiply(
          m: rows, n: inputs - end, k: end - start, a: errors, strideA: band,
          b: factor + start * inputs + end,
          strideB: inputs, accumulate: true, c: values + end, strideC: inputs)
      }
    }
  }

  /// Rounds some columns of one row, and leaves their errors, negative and divided by the diagonal.
  private func roundBand(_ index: Int, _ columns: Range<Int>, errors: UnsafeMutablePointer<Float>) {
    let row = values + index * inputs
    var scale: Float = 0
    for column in columns {
      if column.isMultiple(of: 32) {
        // The scale is chosen of what the errors so far have made of the block.
        scale = Float(
          type == .q4_0
            ? BlockScale.fourBits(row + column, costs: costs + column, factor: corner(column), stride: inputs)
            : BlockScale.eightBits(row + column))
        scales[index * (inputs / 32) + column / 32] = scale
      }
      let value = row[column]
      let quant = quant(value, scale: scale)
      quants[index * inputs + column] = quant
      row[column] = scale * quant
      let line = factor + column * inputs
      let error = (row[column] - value) / line[column]
      errors[column - columns.lowerBound] = error
      for other in column + 1..<max(columns.upperBound, column + 1) { row[other] += error * line[other] }
    }
  }

  /// The square of U on the diagonal that begins at a column.
  private func corner(_ column: Int) -> UnsafePointer<Float> { factor + column * inputs + column }

  // MARK: One at a time

  /// Moves each scale and each integer to where δ·H·δᵀ, δ what the row differs from the original by, is least while all
  /// others stay as they are.
  func refine() {
    let band = Self.band
    let count = rows * inputs
    // δ·H, negative, and with it half of the slope of what is to be least.
    let slopes = UnsafeMutablePointer<Float>.allocate(capacity: count)
    let moves = UnsafeMutablePointer<Float>.allocate(capacity: rows * max(inputs, band))
    defer {
      slopes.deallocate()
      moves.deallocate()
    }
    for index in 0..<count { moves[index] = original[index] - values[index] }
    ProductPrecision.f32.multiply(
      m: rows, n: inputs, k: inputs, a: moves, strideA: inputs, b: hessian, strideB: inputs,
      accumulate: false, c: slopes,
      strideC: inputs)
    for _ in 0..<Self.rounds {
      for start in stride(from: 0, to: inputs, by: band) {
        let end = min(start + band, inputs)
        for row in 0..<rows {
          refineBand(
            row, start..<end, slopes: slopes + row * inputs + start, moves: moves + row * band)
        }
        ProductPrecision.f32.multiply(
          m: rows, n: inputs, k: end - start, a: moves, strideA: band, b: hessian + start * inputs,
          strideB: inputs, accumulate: true, c: slopes, strideC: inputs)
      }
    }
  }

  /// Refines some columns of one row, and leaves by how much they moved, negative.
  private func refineBand(
    _ index: Int, _ columns: Range<Int>, slopes: UnsafePointer<Float>, moves: UnsafeMutablePointer<Float>
  ) {
    let (row, quants) = (values + index * inputs, quants + index * inputs)
    let scales = scales + index * (inputs / 32)
    let (first, width) = (columns.lowerBound, columns.count)
    withUnsafeTemporaryAllocation(of: Float.self, capacity: width) { buffer in
      let slope = buffer.baseAddress!
      slope.update(from: slopes, count: width)
      for column in columns { moves[column - first] = row[column] }
      for block in stride(from: first, to: columns.upperBound, by: 32) {
        // The scale: along its integers q, the least is where q·H·qᵀ·change = q·slope.
        var (square, cross): (Float, Float) = (0, 0)
        for column in block..<block + 32 where quants[column] != 0 {
          let line = hessian + column * inputs + block
          var sum: Float = 0
          for other in 0..<32 { sum += line[other] * quants[block + other] }
          square += sum * quants[column]
          cross += slope[column - first] * quants[column]
        }
        var scale = scales[block / 32]
        let better = Float(Float16(scale + cross / square))
        if square > 0, better.isFinite, better != scale {
          for column in block..<block + 32 {
            move(&row[column], to: better * quants[column], column, slope, columns)
          }
          scale = better
          scales[block / 32] = scale
        }
        for column in block..<block + 32 {
          let wanted = row[column] + slope[column - first] / hessian[column * inputs + column]
          let quant = quant(wanted, scale: scale)
          guard quant != quants[column] else { continue }
          quants[column] = quant
          move(&row[column], to: scale * quant, column, slope, columns)
        }
      }
      for column in columns { moves[column - first] -= row[column] }
    }
  }

  /// Gives a column another value, and the slopes of its band what follows of that.
  private func move(
    _ value: inout Float, to new: Float, _ column: Int, _ slope: UnsafeMutablePointer<Float>,
    _ columns: Range<Int>
  ) {
    let change = new - value
    value = new
    let line = hessian + column * inputs + columns.lowerBound
    for other in 0..<columns.count { slope[other] -= change * line[other] }
  }

  // MARK: Blocks

  /// Writes the rows' blocks, as a file has them.
  func write(to blocks: UnsafeMutableRawPointer) {
    for index in 0..<rows * (inputs / 32) {
      let block = blocks + index * type.bytesPerBlock
      let quants = quants + index * 32
      block.storeBytes(of: Float16(scales[index]).bitPattern.littleEndian, as: UInt16.self)
      for place in 0..<(type == .q4_0 ? 16 : 32) {
        if type == .q4_0 {
          // The first 16 are the low halves, the last 16 the high ones.
          let bits = UInt8(quants[place] + 8) | UInt8(quants[place + 16] + 8) << 4
          block.storeBytes(of: bits, toByteOffset: 2 + place, as: UInt8.self)
        } else {
          block.storeBytes(of: Int8(quants[place]), toByteOffset: 2 + place, as: Int8.self)
        }
      }
    }
  }
}
