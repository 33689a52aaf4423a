#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// An open file, closed when the value goes away.
package struct FileDescriptor: ~Copyable {
  package let number: Int32
  package let path: String

  /// Opens a file.
  ///
  /// - Throws: `FileError.missing`, `.isDirectory`, `.invalidPath` or `.system`.
  package init(_ path: String, _ flags: Int32, permissions: mode_t = 0) throws(FileError) {
    guard !path.utf8.contains(0) else { throw .invalidPath(path: path) }
    var number: Int32
    repeat { number = open(path, flags | O_CLOEXEC, permissions) } while number < 0 && errno == EINTR
    guard number >= 0 else { throw .current(path, flags & O_CREAT == 0 ? "open" : "create") }
    self.number = number
    self.path = path
  }

  deinit { close(number) }

  /// What the file system says about the file.
  package func status() throws(FileError) -> stat {
    var status = stat()
    guard fstat(number, &status) == 0 else { throw .current(path, "examine") }
    return status
  }

  /// Reads into a buffer; 0 at the end of the file.
  package func read(into buffer: UnsafeMutableRawBufferPointer) throws(FileError) -> Int {
    while true {
      #if canImport(Darwin)
        let count = Darwin.read(number, buffer.baseAddress, buffer.count)
      #elseif canImport(Musl)
        let count = Musl.read(number, buffer.baseAddress, buffer.count)
      #else
        let count = Glibc.read(number, buffer.baseAddress, buffer.count)
      #endif
      if count >= 0 { return count }
      guard errno == EINTR else { throw .current(path, "read") }
    }
  }

  /// Writes all of a buffer.
  func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let part = UnsafeRawBufferPointer(rebasing: rest)
      #if canImport(Darwin)
        let count = Darwin.write(number, part.baseAddress, part.count)
      #elseif canImport(Musl)
        let count = Musl.write(number, part.baseAddress, part.count)
      #else
        let count = Glibc.write(number, part.baseAddress, part.count)
      #endif
      if count >= 0 {
        rest = rest.dropFirst(count)
      } else if errno != EINTR {
        throw .current(path, "write")
      }
    }
  }

  /// Writes all of a buffer at an offset, and leaves the place where `write` goes on as it is.
  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileError) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = pwrite(
        number, bytes.baseAddress! + rest.startIndex, rest.count, off_t(offset + rest.startIndex))
      if count >= 0 {
        rest = rest.dropFirst(count)
      } else if errno != EINTR {
        throw .current(path, "write")
      }
    }
  }

  /// Waits until the file's contents are on the disk.
  func synchronise() throws(FileError) {
    while fsync(number) != 0 {
      // Some file systems cannot synchronise a folder and say so with EINVAL; nothing more can be done there.
      if errno == EINVAL { return }
      guard errno == EINTR else { throw .current(path, "write to disk") }
    }
  }
}

extension stat {
  /// Whether this is a folder.
  package var isDirectory: Bool { st_mode & S_IFMT == S_IFDIR }
  /// Whether this is a file of bytes.
  package var isRegular: Bool { st_mode & S_IFMT == S_IFREG }
}

/// What the file system says about a path, links followed; `nil` when nothing is there.
package func fileStatus(_ path: String) throws(FileError) -> stat? {
  guard !path.utf8.contains(0) else { throw .invalidPath(path: path) }
  var status = stat()
  if stat(path, &status) == 0 { return status }
  guard errno == ENOENT else { throw .current(path, "examine") }
  return nil
}
