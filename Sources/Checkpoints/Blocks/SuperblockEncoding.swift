// Blocks of 256 whose groups have scales of their own, as llama.cpp's reference rounds them: the scale of a group is the best
// of some candidates by weighted squares, then scales are rounded, then elements.
// - SeeAlso: `quantize_row_q4_K_ref`, `quantize_row_q5_K_ref`, `quantize_row_q6_K_ref` in llama.cpp.

private typealias Lanes = SIMD16<Float>

/// Rounds to the nearest integer, ties to even, magnitudes below 2²².
@inline(__always)
private func nearest(_ x: Lanes) -> Lanes { (x + 12_582_912) - 12_582_912 }

@inline(__always)
private func nearest(_ x: Float) -> Float { (x + 12_582_912) - 12_582_912 }

/// The sum of the lanes, in pairs.
@inline(__always)
private func total(_ x: Lanes) -> Float {
  let eight = x.lowHalf + x.highHalf
  let four = eight.lowHalf + eight.highHalf
  return (four.x + four.z) + (four.y + four.w)
}

@inline(__always)
private func clamped(_ x: Lanes, _ low: Float, _ high: Float) -> Lanes {
  let (least, most) = (Lanes(repeating: low), Lanes(repeating: high))
  let above = x.replacing(with: least, where: x .< least)
  return above.replacing(with: most, where: above .> most)
}

@inline(__always)
private func lanes(_ source: UnsafePointer<Float>) -> Lanes {
  UnsafeRawPointer(source).loadUnaligned(as: Lanes.self)
}

@inline(__always)
private func put(_ value: Float16, _ destination: UnsafeMutableRawPointer, _ offset: Int) {
  destination.storeBytes(of: value.bitPattern.littleEndian, toByteOffset: offset, as: UInt16.self)
}

/// Scale and minimum of 32 numbers: x ≈ scale·q − minimum, q in 0 … levels, minimum ≥ 0.
///
/// - Parameters:
///   - start: the candidates are (levels + start + 0.1·i)/(max − min) for i in 0 … steps, each fitted by least squares.
private func affineGroup(
  _ x: UnsafePointer<Float>, levels: Float, start: Float, steps: Int
) -> (scale: Float, minimum: Float) {
  let (x0, x1) = (lanes(x), lanes(x + 16))
  let average = (total(x0 * x0) + total(x1 * x1)) / 32
  let deviation = average.squareRoot()
  // Large numbers count for more: an error in them weighs more in a product.
  let (w0, w1) = (
    x0.replacing(with: -x0, where: x0 .< 0) + deviation, x1.replacing(with: -x1, where: x1 .< 0) + deviation
  )
  let sumW = total(w0) + total(w1)
  let (wx0, wx1) = (w0 * x0, w1 * x1)
  let sumX = total(wx0) + total(wx1)
  var least = min(x0.min(), x1.min())
  let most = max(x0.max(), x1.max())
  if least > 0 { least = 0 }
  let span = most - least
  guard span > 1e-30 else { return (0, -least) }

  @inline(__always)
  func error(_ q0: Lanes, _ q1: Lanes, _ scale: Float, _ minimum: Float) -> Float {
    let (d0, d1) = (q0 * scale + minimum - x0, q1 * scale + minimum - x1)
    return total(w0 * d0 * d0) + total(w1 * d1 * d1)
  }
  @inline(__always)
  func rounded(_ inverse: Float) -> (Lanes, Lanes) {
    (
      clamped(nearest((x0 - least) * inverse), 0, levels), clamped(nearest((x1 - least) * inverse), 0, levels)
    )
  }

  var best = (scale: span / levels, minimum: least)
  let (first0, first1) = rounded(levels / span)
  var bestError = error(first0, first1, best.scale, best.minimum)
  for step in 0...steps {
    let (q0, q1) = rounded((levels + start + 0.1 * Float(step)) / span)
    let (wq0, wq1) = (w0 * q0, w1 * q1)
    let sumQ = total(wq0) + total(wq1)
    let sumQQ = total(wq0 * q0) + total(wq1 * q1)
    let sumXQ = total(wx0 * q0) + total(wx1 * q1)
    let determinant = sumW * sumQQ - sumQ * sumQ
    guard determinant > 0 else { continue }
    var scale = (sumW * sumXQ - sumX * sumQ) / determinant
    var minimum = (sumQQ * sumX - sumQ * sumXQ) / determinant
    if minimum > 0 {
      minimum = 0
      scale = sumXQ / sumQQ
    }
    let candidate = error(q0, q1, scale, minimum)
    if candidate < bestError {
      bestError = candidate
      best = (scale, minimum)
    }
  }
  return (best.scale, -best.minimum)
}

/// What no scale of binary16 reaches with the integers of these types; sums of squares of less do not overflow.
private let limit: Float = 1e9

/// 0 … 63, nearest to a number; 0 for NaN.
@inline(__always)
private func sixBits(_ value: Float) -> UInt8 { value > 0 ? UInt8(min(nearest(value), 63)) : 0 }

/// d, d of the minima, scales and minima of 6 bits, fifth bits where there are any, low halves.
func affineSuperblock(
  _ source: UnsafePointer<Float>, _ destination: UnsafeMutableRawPointer, bits: Int
) -> Bool {
  let levels = Float(1 << bits - 1)
  destination.initializeMemory(as: UInt8.self, repeating: 0, count: bits == 4 ? 144 : 176)
  guard (0..<256).allSatisfy({ source[$0].magnitude < limit }) else { return false }
  var scales = SIMD8<Float>.zero
  var minima = SIMD8<Float>.zero
  for group in 0..<8 {
    let fit = affineGroup(
      source + group * 32, levels: levels, start: bits == 4 ? -1 : -0.5, steps: bits == 4 ? 20 : 15)
    scales[group] = fit.scale
    minima[group] = fit.minimum
  }
  // A scale below 0 would need a sign that its 6 bits do not have; least squares gives none for numbers in order.
  let (largestScale, largestMinimum) = (max(scales.max(), 0), max(minima.max(), 0))
  let inverseScale = largestScale > 1e-30 ? 63 / largestScale : 0
  let inverseMinimum = largestMinimum > 1e-30 ? 63 / largestMinimum : 0
  let d = Float16(largestScale / 63)
  let dMinimum = Float16(largestMinimum / 63)
  put(d, destination, 0)
  put(dMinimum, destination, 2)
  let packed = (destination + 4).assumingMemoryBound(to: UInt8.self)
  let high = (destination + 16).assumingMemoryBound(to: UInt8.self)
  let low = (destination + (bits == 4 ? 16 : 48)).assumingMemoryBound(to: UInt8.self)
  for group in 0..<8 {
    let scale = sixBits(inverseScale * scales[group])
    let minimum = sixBits(inverseMinimum * minima[group])
    if group < 4 {
      packed[group] |= scale
      packed[group + 4] |= minimum
    } else {
      packed[group + 4] = scale & 15 | minimum << 4
      packed[group - 4] |= (scale >> 4) << 6
      packed[group] |= (minimum >> 4) << 6
    }
    let factor = Float(d) * Float(scale)
    guard factor != 0, factor.isFinite else { continue }
    let offset = Float(dMinimum) * Float(minimum)
    for half in 0..<2 {
      let start = group * 32 + half * 16
      let quants = clamped(nearest((lanes(source + start) + offset) / factor), 0, levels)
      for index in 0..<16 {
        let quant = UInt8(quants[index])
        low[group / 2 * 32 + half * 16 + index] |= (quant & 15) << (group % 2 * 4)
        if bits == 5 { high[half * 16 + index] |= (quant >> 4) << group }
      }
    }
  }
  return d.isFinite && dMinimum.isFinite
}

/// The scale of 16 numbers for integers of −32 … 31: the best of 19 by squares weighted with squares.
private func symmetricGroup(_ x: UnsafePointer<Float>) -> Float {
  let values = lanes(x)
  var largest: Float = 0
  for index in 0..<16 where x[index].magnitude > largest.magnitude { largest = x[index] }
  guard largest.magnitude >= 1e-15 else { return 0 }
  let weights = values * values
  @inline(__always)
  func sums(_ inverse: Float) -> (cross: Float, square: Float) {
    let quants = clamped(nearest(values * inverse), -32, 31)
    let weighted = weights * quants
    return (total(weighted * values), total(weighted * quants))
  }
  let first = sums(-32 / largest)
  var scale = first.square > 0 ? first.cross / first.square : 0
  var best = scale * first.cross
  for step in -9...9 where step != 0 {
    let (cross, square) = sums(-(32 + 0.1 * Float(step)) / largest)
    if square > 0, cross * cross > best * square {
      scale = cross / square
      best = scale * cross
    }
  }
  return scale
}

/// 128 bytes of low halves, 64 bytes of four high 2-bit numbers, 16 signed scales, d.
func q6_k(_ source: UnsafePointer<Float>, _ destination: UnsafeMutableRawPointer) -> Bool {
  destination.initializeMemory(as: UInt8.self, repeating: 0, count: 210)
  guard (0..<256).allSatisfy({ source[$0].magnitude < limit }) else { return false }
  var scales = SIMD16<Float>.zero
  var largest: Float = 0
  for group in 0..<16 {
    scales[group] = symmetricGroup(source + group * 16)
    if scales[group].magnitude > largest.magnitude { largest = scales[group] }
  }
  guard largest.magnitude >= 1e-15 else { return true }
  let inverse = -128 / largest
  let d = Float16(1 / inverse)
  put(d, destination, 208)
  let low = destination.assumingMemoryBound(to: UInt8.self)
  let high = low + 128
  for group in 0..<16 {
    let scale = max(-128, min(127, nearest(inverse * scales[group])))
    destination.storeBytes(of: Int8(scale), toByteOffset: 192 + group, as: Int8.self)
    let factor = Float(d) * scale
    // Quants are stored 32 too large.
    let quants =
      factor != 0 && factor.isFinite
      ? clamped(nearest(lanes(source + group * 16) / factor), -32, 31) + 32 : Lanes(repeating: 32)
    let lowStart = group / 8 * 64 + group % 4 * 16
    let highStart = group / 8 * 32 + group % 2 * 16
    for index in 0..<16 {
      let quant = UInt8(quants[index])
      low[lowStart + index] |= (quant & 15) << (group / 4 % 2 * 4)
      high[highStart + index] |= (quant >> 4) << (group / 2 % 4 * 2)
    }
  }
  return d.isFinite
}
