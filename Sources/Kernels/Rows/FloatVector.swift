import CIntrinsics

/// Sixteen floats: one register of AVX-512, a few of a smaller instruction set.
typealias FloatVector = SIMD16<Float>

extension SIMD16<Float> {
  /// Reads sixteen floats at any alignment.
  @inline(__always)
  init(at source: UnsafePointer<Float>) {
    self = UnsafeRawPointer(source).loadUnaligned(as: FloatVector.self)
  }

  /// Reads the first `count < 16` lanes; `rest` fills the others.
  @inline(__always)
  init(at source: UnsafePointer<Float>, count: Int, rest: Float = 0) {
    self = ink_load16_partial(source, count, FloatVector(repeating: rest))
  }

  /// Writes sixteen floats at any alignment.
  @inline(__always)
  func store(to target: UnsafeMutablePointer<Float>) {
    UnsafeMutableRawPointer(target).storeBytes(of: self, as: FloatVector.self)
  }

  /// Writes the first `count < 16` lanes.
  @inline(__always)
  func store(to target: UnsafeMutablePointer<Float>, count: Int) {
    ink_store16_partial(target, count, self)
  }

  /// The larger of two values per lane; `self` where `other` is NaN.
  @inline(__always)
  func larger(_ other: FloatVector) -> FloatVector { replacing(with: other, where: other .> self) }

  /// Values not above `limit`; NaN stays.
  @inline(__always)
  func atMost(_ limit: Float) -> FloatVector { replacing(with: limit, where: self .> limit) }

  /// Values not below `limit`; NaN stays.
  @inline(__always)
  func atLeast(_ limit: Float) -> FloatVector { replacing(with: limit, where: self .< limit) }

  /// |x| per lane.
  @inline(__always)
  var magnitude: FloatVector {
    unsafeBitCast(unsafeBitCast(self, to: SIMD16<UInt32>.self) & 0x7FFF_FFFF, to: FloatVector.self)
  }

  /// |x| with the sign of another value, per lane.
  @inline(__always)
  func withSign(of other: FloatVector) -> FloatVector {
    let sign = unsafeBitCast(other, to: SIMD16<UInt32>.self) & 0x8000_0000
    return unsafeBitCast(unsafeBitCast(magnitude, to: SIMD16<UInt32>.self) | sign, to: FloatVector.self)
  }

  /// √x per lane.
  @inline(__always)
  var squareRoots: FloatVector { ink_square_root16(self) }

  /// The largest lane that is not NaN; −∞ when all are.
  @inline(__always)
  var largestLane: Float {
    let known = replacing(with: -.infinity, where: self .!= self)
    let eight = known.lowHalf.replacing(with: known.highHalf, where: known.highHalf .> known.lowHalf)
    let four = eight.lowHalf.replacing(with: eight.highHalf, where: eight.highHalf .> eight.lowHalf)
    let two = four.lowHalf.replacing(with: four.highHalf, where: four.highHalf .> four.lowHalf)
    return two.x > two.y ? two.x : two.y
  }

  /// The sum of the lanes, in pairs.
  @inline(__always)
  var sumOfLanes: Double {
    let eight = lowHalf + highHalf
    let four = eight.lowHalf + eight.highHalf
    return (Double(four.x) + Double(four.z)) + (Double(four.y) + Double(four.w))
  }
}

/// a·b + c per lane, rounded once where the build has an instruction for it, twice elsewhere.
@inline(__always)
func multiplyAdd(_ a: FloatVector, _ b: FloatVector, _ c: FloatVector) -> FloatVector {
  ink_multiply_add16(a, b, c)
}

/// a·b + c with one scalar c: a step of Horner's rule.
@inline(__always)
func multiplyAdd(_ a: FloatVector, _ b: FloatVector, _ c: Float) -> FloatVector {
  multiplyAdd(a, b, FloatVector(repeating: c))
}

/// a·b + c with scalars b and c: the first step of Horner's rule.
@inline(__always)
func multiplyAdd(_ a: FloatVector, _ b: Float, _ c: Float) -> FloatVector {
  multiplyAdd(a, FloatVector(repeating: b), FloatVector(repeating: c))
}

/// y[i] = f(x[i]), sixteen at a time.
///
/// - Parameters:
///   - x: (count).
///   - y: (count); may be `x`.
///   - f: acts lane by lane; inlined.
@inline(__always)
func mapRow(
  _ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, count: Int,
  _ f: (FloatVector) -> FloatVector
) {
  let whole = count & ~15
  var index = 0
  while index < whole {
    f(FloatVector(at: x + index)).store(to: y + index)
    index &+= 16  // Safe: at most `count`.
  }
  if whole < count {
    f(FloatVector(at: x + whole, count: count - whole)).store(to: y + whole, count: count - whole)
  }
}

/// y[i] = f(a[i], b[i]), sixteen at a time.
///
/// - Parameters:
///   - a: (count).
///   - b: (count).
///   - y: (count); may be `a` or `b`.
///   - f: acts lane by lane; inlined.
@inline(__always)
func mapRows(
  _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, count: Int,
  _ f: (FloatVector, FloatVector) -> FloatVector
) {
  let whole = count & ~15
  var index = 0
  while index < whole {
    f(FloatVector(at: a + index), FloatVector(at: b + index)).store(to: y + index)
    index &+= 16  // Safe: at most `count`.
  }
  if whole < count {
    let rest = count - whole
    f(FloatVector(at: a + whole, count: rest), FloatVector(at: b + whole, count: rest))
      .store(to: y + whole, count: rest)
  }
}

/// Σ f(x[i]), in `Float` within blocks of 1024 and in `Double` across them.
///
/// - Parameters:
///   - x: (count).
///   - y: receives f(x) when given; (count); may be `x`.
///   - padding: a value that f maps to 0.
///   - f: acts lane by lane; inlined.
/// - Accuracy: at most 20 roundings of `Float` on the way of any term, whatever the count.
@inline(__always)
func sumRow(
  _ x: UnsafePointer<Float>, storing y: UnsafeMutablePointer<Float>? = nil, count: Int, padding: Float,
  _ f: (FloatVector) -> FloatVector
) -> Double {
  @inline(__always)
  func term(_ index: Int) -> FloatVector {
    let value = f(FloatVector(at: x + index))
    if let y { value.store(to: y + index) }
    return value
  }

  let whole = count & ~15
  var total = 0.0
  var index = 0  // Every addition to it is safe: it stays within `count`.
  while index < whole {
    // Four sums, so that an addition need not wait for the one before it.
    var (a, b, c, d) = (FloatVector.zero, FloatVector.zero, FloatVector.zero, FloatVector.zero)
    let end = min(index &+ 1024, whole)
    let endOfFours = index &+ (end &- index) & ~63
    while index < endOfFours {
      a += term(index)
      b += term(index &+ 16)
      c += term(index &+ 32)
      d += term(index &+ 48)
      index &+= 64
    }
    while index < end {
      a += term(index)
      index &+= 16
    }
    total += ((a + b) + (c + d)).sumOfLanes
  }
  if whole < count {
    let value = f(FloatVector(at: x + whole, count: count - whole, rest: padding))
    if let y { value.store(to: y + whole, count: count - whole) }
    total += value.sumOfLanes
  }
  return total
}
