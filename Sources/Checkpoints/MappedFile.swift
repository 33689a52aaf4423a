import Dispatch

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// A file whose bytes appear in memory, read from disk as they are touched and shared by every process.
///
/// The map is read-only. A file that another program *shortens* while it is mapped has no bytes behind the
/// cut, and touching them ends the process (SIGBUS); no portable interface prevents that. Replacing a file by
/// renaming a new one over it, as `AtomicFile` and every careful writer do, is harmless: the map keeps the old
/// contents. `checkLength()` notices a file that was shortened since it was opened.
public final class MappedFile: @unchecked Sendable {
  // Safe: unchecked because of the pointer alone; the map is read-only and nothing here changes after `init`.

  /// The path the file was opened by.
  public let path: String
  /// The contents, valid as long as this object lives; starts at a page boundary.
  public let bytes: UnsafeRawBufferPointer
  private let file: FileDescriptor

  /// Maps a whole file.
  ///
  /// - Throws: `FileError` when the path is missing, a folder, a device or pipe, empty or unreadable.
  public init(path: String) throws(FileError) {
    // Without O_NONBLOCK, opening a pipe that nobody writes would wait for ever.
    file = try FileDescriptor(path, O_RDONLY | O_NONBLOCK)
    let status = try file.status()
    if status.isDirectory { throw .isDirectory(path: path) }
    guard status.isRegular else { throw .notRegular(path: path) }
    let count = Int(status.st_size)
    guard count > 0 else { throw .empty(path: path) }
    let start = mmap(nil, count, PROT_READ, MAP_PRIVATE, file.number, 0)
    guard let start, start != MAP_FAILED else { throw .current(path, "map") }
    self.path = path
    bytes = UnsafeRawBufferPointer(start: start, count: count)
  }

  deinit {
    munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count)
  }

  /// Checks that the file still has the length it had when it was opened.
  ///
  /// - Throws: `FileError.resized`.
  /// - Complexity: one system call.
  public func checkLength() throws(FileError) {
    let now = Int(try file.status().st_size)
    guard now == bytes.count else { throw .resized(path: path, opened: bytes.count, now: now) }
  }

  /// Asks the system to read a range ahead of its use.
  ///
  /// - Parameter range: byte positions; clamped to the file.
  public func willNeed(_ range: Range<Int>) {
    advise(range, MADV_WILLNEED, outward: true)
  }

  /// Has the system read the whole file from a thread of its own, while what has come is used.
  ///
  /// The disk then works without a pause. Of a single request the system reads the first megabytes only, and what is read because
  /// it is touched is waited for. Nothing is done for a file that seems to be in memory.
  public func readAhead() {
    guard !isProbablyInMemory else { return }
    DispatchQueue.global().async { [self] in
      // What the system takes in one request is between 128 KB and some megabytes, as the disk is.
      for start in stride(from: 0, to: bytes.count, by: 1 << 20) { willNeed(start..<start + 1 << 20) }
    }
  }

  /// Whether the system has pages here and there of the file in memory, told without reading any.
  ///
  /// It tells of files of one's own; others seem to be in memory.
  var isProbablyInMemory: Bool {
    let page = Int(getpagesize())
    let pages = (bytes.count + page - 1) / page
    return (0..<64).allSatisfy { sample in
      let address = UnsafeMutableRawPointer(mutating: bytes.baseAddress! + (pages - 1) * sample / 63 * page)
      #if os(Linux)
        var state: UInt8 = 0
      #else
        var state: CChar = 0
      #endif
      return mincore(address, page, &state) != 0 || state & 1 == 1
    }
  }

  /// Tells the system that a range will not be used soon, so that its memory can serve others.
  ///
  /// - Parameter range: byte positions; clamped to the file. Only pages wholly inside are given back.
  public func dontNeed(_ range: Range<Int>) {
    advise(range, MADV_DONTNEED, outward: false)
  }

  /// Advice is a hint: a refusal changes nothing but speed, so it is not reported.
  private func advise(_ range: Range<Int>, _ advice: Int32, outward: Bool) {
    let range = range.clamped(to: 0..<bytes.count)
    let page = Int(getpagesize())
    let lower = (outward ? range.lowerBound : range.lowerBound + (page - 1)) / page * page
    let upper = outward || range.upperBound == bytes.count ? range.upperBound : range.upperBound / page * page
    guard lower < upper, let base = bytes.baseAddress else { return }
    _ = madvise(UnsafeMutableRawPointer(mutating: base + lower), upper - lower, advice)
  }
}
