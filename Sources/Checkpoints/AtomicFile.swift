#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// A file that appears under its name only when it is complete and on the disk.
///
/// The bytes go to a file beside the target, `.inkstone-….tmp`, which is synchronised and renamed over the
/// target; then the folder is synchronised. A reader sees the old file or the new one, never a part, and so
/// does the next start after a power cut. On any error the temporary file is removed and the old file stays.
/// Only a process that is killed leaves its temporary file behind.
public struct AtomicFile: ~Copyable {
  /// The target.
  public let path: String
  /// Bytes appended so far.
  public private(set) var byteCount = 0
  private let folder: String
  private let temporaryPath: String
  private let file: FileDescriptor
  private var isRenamed = false

  /// Writes a file piece by piece.
  ///
  /// - Parameters:
  ///   - path: the target; a file that exists is replaced and keeps its permissions. A link is replaced by the
  ///     file, and what it points to stays as it is.
  ///   - body: appends the contents; if it throws, nothing changes.
  /// - Throws: `FileError`, or what `body` throws.
  public static func write(to path: String, _ body: (inout AtomicFile) throws -> Void) throws {
    var file = try AtomicFile(path: path)
    try body(&file)
    try file.commit()
  }

  /// Writes a file whose contents are in memory.
  ///
  /// - Throws: `FileError`.
  public static func write(_ bytes: UnsafeRawBufferPointer, to path: String) throws {
    try write(to: path) { try $0.append(bytes) }
  }

  /// Writes a text as UTF-8.
  ///
  /// - Throws: `FileError`.
  public static func write(_ text: String, to path: String) throws {
    var text = text
    try text.withUTF8 { try write(UnsafeRawBufferPointer($0), to: path) }
  }

  /// Appends bytes, in one call to the system: gather small pieces first.
  ///
  /// - Throws: `FileError.system`, for a full disk among others.
  public mutating func append(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
    do throws(FileError) {
      try file.write(bytes)
    } catch {
      throw AtomicFile.naming(error, path)
    }
    byteCount += bytes.count
  }

  /// Replaces bytes that were appended before, such as a header whose counts were not known at the start.
  ///
  /// - Parameters:
  ///   - bytes: the new contents.
  ///   - offset: where they go; they end at or before the last byte appended.
  /// - Throws: `FileError.system`.
  public mutating func overwrite(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileError) {
    precondition(
      offset >= 0 && offset <= byteCount && bytes.count <= byteCount - offset,
      "\(bytes.count) bytes at \(offset) of \(byteCount)")
    do throws(FileError) {
      try file.write(bytes, at: offset)
    } catch {
      throw AtomicFile.naming(error, path)
    }
  }

  /// Opens the temporary file beside a target.
  ///
  /// For writers that live longer than one call; `write(to:_:)` is simpler where it will do. A value that goes
  /// away without `commit()` leaves the target as it was.
  ///
  /// - Throws: `FileError`.
  public init(path: String) throws(FileError) {
    var permissions: mode_t?
    if let status = try fileStatus(path) {
      if status.isDirectory { throw .isDirectory(path: path) }
      // Renaming over a device would replace it: /dev/null would become a file.
      guard status.isRegular else { throw .notRegular(path: path) }
      permissions = status.st_mode & 0o777
    }
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "./"
    let temporaryPath = folder + ".inkstone-" + String(UInt64.random(in: 0 ... .max), radix: 16) + ".tmp"
    file = try AtomicFile.create(temporaryPath, for: path, in: folder, permissions: permissions)
    self.path = path
    self.folder = folder
    self.temporaryPath = temporaryPath
  }

  /// Creates the temporary file; an error names the target, which is the path the caller knows.
  private static func create(
    _ temporaryPath: String, for path: String, in folder: String, permissions: mode_t?
  ) throws(FileError) -> FileDescriptor {
    do throws(FileError) {
      let file = try FileDescriptor(temporaryPath, O_WRONLY | O_CREAT | O_EXCL, permissions: 0o666)
      if let permissions, fchmod(file.number, permissions) != 0 {
        let error = FileError.current(path, "set the permissions of")
        unlink(temporaryPath)
        throw error
      }
      return file
    } catch .missing {
      throw .missing(path: folder)
    } catch {
      throw naming(error, path)
    }
  }

  deinit {
    if !isRenamed { unlink(temporaryPath) }
  }

  /// Puts the file under its name, complete and on the disk; nothing is appended afterwards.
  ///
  /// - Throws: `FileError`; then the target is as it was.
  public mutating func commit() throws(FileError) {
    do throws(FileError) {
      try file.synchronise()
    } catch {
      throw AtomicFile.naming(error, path)
    }
    guard rename(temporaryPath, path) == 0 else { throw .current(path, "replace") }
    isRenamed = true
    try FileDescriptor(folder, O_RDONLY).synchronise()
  }

  /// The same error under the name the caller knows.
  private static func naming(_ error: FileError, _ path: String) -> FileError {
    guard case .system(_, let action, let code) = error else { return error }
    return .system(path: path, action: action, code: code)
  }
}
