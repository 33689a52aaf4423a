import Testing

@testable import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Numbers that PyTorch computed (Tests/Reference/Kernels/generate_backward.py).
enum BackwardFixture {
  private static let lines: [String: [Double]] = {
    let path = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" }
    guard let file = fopen(path + "/Reference/Kernels/backward.txt", "r") else { return [:] }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = fread(&buffer, 1, buffer.count, file), count > 0 { bytes += buffer[..<count] }
    var lines: [String: [Double]] = [:]
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
      let fields = line.split(separator: " ")
      lines[String(fields[0])] = fields.dropFirst().map { Double($0)! }
    }
    return lines
  }()

  static func values(_ name: String) throws -> [Double] {
    try #require(lines[name], "\(name) of backward.txt")
  }

  static func floats(_ name: String) throws -> [Float] { try values(name).map { Float($0) } }

  static func matrix(_ name: String, rows: Int) throws -> GuardedMatrix {
    let values = try floats(name)
    let columns = values.count / rows
    return GuardedMatrix(rows: rows, columns: columns, gap: 5) { values[$0 * columns + $1] }
  }
}

extension GuardedMatrix {
  /// All elements, row after row.
  var elements: [Float] { (0..<view.rows).flatMap { row($0) } }

  /// Random elements in [−1, 1).
  convenience init(_ random: inout RandomFloats, rows: Int, columns: Int, gap: Int = 3) {
    let values = random.floats(rows * columns)
    self.init(rows: rows, columns: columns, gap: gap) { values[$0 * columns + $1] }
  }

  /// Zeros.
  convenience init(zeros rows: Int, _ columns: Int, gap: Int = 2) {
    self.init(rows: rows, columns: columns, gap: gap) { _, _ in 0 }
  }
}

/// Expects every element within `tolerance` of the largest.
func expectClose(
  _ actual: [Float], _ expected: [Double], tolerance: Double, _ subject: String,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(actual.count == expected.count, "\(subject)", sourceLocation: sourceLocation)
  // What should vanish is left with the rounding of terms of size 1.
  let scale = max(expected.reduce(0) { max($0, abs($1)) }, 1e-2)
  for (index, pair) in zip(actual, expected).enumerated() {
    guard abs(Double(pair.0) - pair.1) <= tolerance * scale else {
      Issue.record(
        "\(subject), element \(index): \(pair.0) instead of \(pair.1)", sourceLocation: sourceLocation)
      return
    }
  }
}

/// Compares a gradient with central differences of a loss, element by element.
///
/// - Parameters:
///   - x: what the loss depends on; restored afterwards.
///   - loss: Σ dY·y in `Double`.
func expectSlopes(
  _ x: GuardedMatrix, _ gradient: [Float], _ subject: String, step: Float = 4e-3, tolerance: Double = 3e-3,
  sourceLocation: SourceLocation = #_sourceLocation, _ loss: () -> Double
) {
  var slopes: [Double] = []
  for row in 0..<x.view.rows {
    for column in 0..<x.view.columns {
      let place = x.view.row(row) + column
      let value = place.pointee
      place.pointee = value + step
      let above = loss()
      place.pointee = value - step
      let below = loss()
      place.pointee = value
      slopes.append((above - below) / (Double(value + step) - Double(value - step)))
    }
  }
  expectClose(gradient, slopes, tolerance: tolerance, "slopes of \(subject)", sourceLocation: sourceLocation)
}

/// Σ a·b in `Double`.
func overlap(_ a: GuardedMatrix, _ b: GuardedMatrix) -> Double {
  zip(a.elements, b.elements).reduce(0) { $0 + Double($1.0) * Double($1.1) }
}
