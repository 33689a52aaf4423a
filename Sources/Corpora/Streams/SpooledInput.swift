import Checkpoints

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Files that can be read twice: pipes among them are copied to a temporary file first.
public final class SpooledInput {
  /// Paths to read in place of those given.
  public let paths: [String]
  private let temporary: [String]

  /// Copies what is no regular file.
  ///
  /// - Parameters:
  ///   - paths: `-` is standard input.
  ///   - folder: where copies go.
  /// - Throws: `FileError`, also for a full disk.
  public init(_ paths: [String], folder: String) throws {
    var (resolved, temporary): ([String], [String]) = ([], [])
    do {
      for path in paths {
        if path != "-", try fileStatus(path).map({ $0.isRegular || $0.isDirectory }) ?? true {
          resolved.append(path)
        } else {
          let copy =
            folder + "/inkstone-input-" + String(UInt64.random(in: 0 ... .max), radix: 16)
            // The end of the name tells the layout.
            + (path == "-"
              ? ""
              : "-" + String(path[(path.lastIndex(of: "/").map(path.index(after:)) ?? path.startIndex)...]))
          temporary.append(copy)
          try SpooledInput.copy(path, to: copy)
          resolved.append(copy)
        }
      }
    } catch {
      for path in temporary { unlink(path) }
      throw error
    }
    self.paths = resolved
    self.temporary = temporary
  }

  deinit { for path in temporary { unlink(path) } }

  private static func copy(_ path: String, to copy: String) throws {
    let source = try ByteSource(path)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
    defer { buffer.deallocate() }
    try AtomicFile.write(to: copy) { file in
      while true {
        let count = try source.read(into: buffer)
        if count == 0 { break }
        try file.append(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      }
    }
  }
}
