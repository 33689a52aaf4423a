#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif
#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif
import JSON

/// The room's only access to the file system.
enum FileBytes {
  /// Whether there is a regular file (or a link to one).
  static func exists(_ path: String) -> Bool {
    var isDirectory = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) && !isDirectory
  }

  /// Whether there is a folder.
  static func isFolder(_ path: String) -> Bool {
    var isDirectory = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) && isDirectory
  }

  /// Calls the body with the file's bytes, mapped where the system can.
  static func read<Result>(_ path: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result
  {
    let data: Data
    do {
      data = try Data(contentsOf: URL(filePath: path), options: .mappedIfSafe)
    } catch {
      throw TokenizerError.unreadable(file: path, reason: reason(path))
    }
    return try data.withUnsafeBytes(body)
  }

  /// What the system says when the file is opened.
  private static func reason(_ path: String) -> String {
    let descriptor = open(path, O_RDONLY)
    guard descriptor < 0 else {
      close(descriptor)
      return "it cannot be read; check the disk and the file"
    }
    return String(cString: strerror(errno))
  }

  /// Parses a JSON file.
  static func json(_ path: String) throws -> JSONValue {
    try read(path) { bytes in
      do {
        return try JSONValue.parse(bytes)
      } catch let error as JSONError {
        throw TokenizerError.malformed(file: path, field: "", reason: error.description)
      }
    }
  }
}
