import Checkpoints
import JSON

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A file to which lines or records are appended, each with one call to the system.
final class AppendedFile {
  let path: String
  private let file: Int32

  init(_ path: String) throws {
    self.path = path
    file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666)
    guard file >= 0 else { throw FileError.system(path: path, action: "open", code: errno) }
  }

  deinit { close(file) }

  func append(_ bytes: [UInt8]) throws {
    var start = 0
    while start < bytes.count {
      let count = bytes.withUnsafeBytes { write(file, $0.baseAddress! + start, bytes.count - start) }
      if count >= 0 {
        start += count
      } else if errno != EINTR {
        throw FileError.system(path: path, action: "write", code: errno)
      }
    }
  }
}

/// The curves of a run: `metrics.jsonl`, one JSON object per line, and TensorBoard's events beside it.
///
/// Lines have a `type`: `step`, `validation`, `sample`, `skip`.
final class MetricsLog {
  private let lines: AppendedFile
  private let events: EventFile

  /// Opens the logs; what a resumed run will compute again is cut off.
  ///
  /// - Parameters:
  ///   - step: the step that the run goes on from.
  ///   - last: the run's last step, after which validation and sample follow the checkpoint.
  init(_ folder: RunFolder, from step: Int, last: Int) throws {
    if fileExists(folder.metrics) {
      let kept = try MetricsLog.read(folder.metrics).filter { line in
        let at = line["step"]?.int ?? 0
        return step > 0 && at <= step && (at < last || line["type"]?.string == "step")
      }
      try AtomicFile.write(kept.map { $0.text() + "\n" }.joined(), to: folder.metrics)
    }
    lines = try AppendedFile(folder.metrics)
    events = try EventFile(in: folder.path, from: step)
  }

  /// The objects of a file; a last line that was cut short is left out.
  static func read(_ path: String) throws -> [JSONValue] {
    let text = String(decoding: try readFile(path), as: UTF8.self)
    return text.split(separator: "\n").compactMap { line in
      Array(line.utf8).withUnsafeBytes { try? JSONValue.parse($0, maximumDepth: 16) }
    }
  }

  /// Appends a line, and its numbers to the events.
  func append(_ type: String, step: Int, _ members: KeyValuePairs<String, JSONValue>) throws {
    let object = JSONObject(
      [.init(key: "type", value: .string(type)), .init(key: "step", value: .integer(step))]
        + members.map { .init(key: $0.key, value: $0.value) })
    try lines.append(Array((JSONValue.object(object).text() + "\n").utf8))
    let scalars = members.compactMap { member in
      member.value.double.map {
        (tag: (type == "step" ? "train/" : type + "/") + member.key, value: Float($0))
      }
    }
    try events.append(scalars, step: step)
  }
}

/// TensorBoard's events: records of length, checksum, message, checksum.
///
/// Messages are `tensorflow.Event` in protocol buffers' encoding, checksums masked CRC-32C.
/// - SeeAlso: tensorflow/core/lib/io/record_writer.cc, tensorflow/core/util/event.proto
final class EventFile {
  private let file: AppendedFile

  /// Begins a file; a reader drops what earlier files say of later steps.
  init(in folder: String, from step: Int) throws {
    let now = EventFile.time()
    var name = [CChar](repeating: 0, count: 256)
    gethostname(&name, 255)
    let host = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    file = try AppendedFile(folder + "/events.out.tfevents.\(Int(now)).\(host).\(getpid()).0")
    var version = Message()
    version.double(1, now)
    version.string(3, "brain.Event:2")
    try append(version)
    guard step > 0 else { return }
    // SessionLog.START, with the step that comes next.
    var log = Message()
    log.integer(1, 1)
    var event = Message()
    event.double(1, now)
    event.integer(2, step + 1)
    event.message(7, log)
    try append(event)
  }

  /// Appends the numbers of a step.
  func append(_ scalars: [(tag: String, value: Float)], step: Int) throws {
    guard !scalars.isEmpty else { return }
    var summary = Message()
    for scalar in scalars {
      var value = Message()
      value.string(1, scalar.tag)
      value.float(2, scalar.value)
      summary.message(1, value)
    }
    var event = Message()
    event.double(1, EventFile.time())
    event.integer(2, step)
    event.message(5, summary)
    try append(event)
  }

  private func append(_ message: Message) throws {
    let length = withUnsafeBytes(of: UInt64(message.bytes.count).littleEndian, Array.init)
    func checksum(_ bytes: [UInt8]) -> [UInt8] {
      let crc = crc32c(bytes)
      // Safe: masking wraps by definition.
      return withUnsafeBytes(of: ((crc >> 15 | crc << 17) &+ 0xA282_EAD8).littleEndian, Array.init)
    }
    try file.append(length + checksum(length) + message.bytes + checksum(message.bytes))
  }

  private static func time() -> Double {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return Double(now.tv_sec) + Double(now.tv_nsec) * 1e-9
  }

  /// A message in protocol buffers' encoding.
  private struct Message {
    var bytes: [UInt8] = []

    private mutating func varint(_ value: UInt64) {
      var rest = value
      while rest >= 0x80 {
        bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
        rest >>= 7
      }
      bytes.append(UInt8(rest))
    }

    mutating func integer(_ field: UInt64, _ value: Int) {
      varint(field << 3)
      varint(UInt64(bitPattern: Int64(value)))
    }

    mutating func double(_ field: UInt64, _ value: Double) {
      varint(field << 3 | 1)
      withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += $0 }
    }

    mutating func float(_ field: UInt64, _ value: Float) {
      varint(field << 3 | 5)
      withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += $0 }
    }

    mutating func string(_ field: UInt64, _ value: String) {
      varint(field << 3 | 2)
      varint(UInt64(value.utf8.count))
      bytes += value.utf8
    }

    mutating func message(_ field: UInt64, _ value: Message) {
      varint(field << 3 | 2)
      varint(UInt64(value.bytes.count))
      bytes += value.bytes
    }
  }
}

private let crcTable: [UInt32] = (0..<256).map { byte in
  (0..<8).reduce(UInt32(byte)) { crc, _ in crc & 1 == 1 ? crc >> 1 ^ 0x82F6_3B78 : crc >> 1 }
}

/// The checksum of Castagnoli's polynomial.
func crc32c(_ bytes: [UInt8]) -> UInt32 {
  ~bytes.reduce(~UInt32(0)) { crc, byte in crc >> 8 ^ crcTable[Int(UInt8(truncatingIfNeeded: crc) ^ byte)] }
}
