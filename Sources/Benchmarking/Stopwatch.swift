/// Seconds that a call takes on the wall clock.
@inline(__always)
func seconds(_ body: () throws -> Void) rethrows -> Double {
  let start = ContinuousClock.now
  try body()
  return seconds(since: start)
}

/// Seconds from an instant until now.
func seconds(since start: ContinuousClock.Instant) -> Double {
  let (whole, fraction) = (ContinuousClock.now - start).components
  return Double(whole) + Double(fraction) * 1e-18
}

/// Repeats a call until some time has gone by.
///
/// - Parameters:
///   - duration: seconds to fill; the call that is under way then is finished.
///   - prepare: runs before each call and is not timed.
/// - Returns: the seconds of each call, at least one.
func slice(lasting duration: Double, prepare: (() -> Void)? = nil, _ body: () -> Void) -> [Double] {
  var samples: [Double] = []
  let start = ContinuousClock.now
  repeat {
    prepare?()
    samples.append(seconds(body))
  } while seconds(since: start) < duration
  return samples
}
