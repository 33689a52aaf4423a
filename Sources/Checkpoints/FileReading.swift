import JSON

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// The whole contents of a file.
///
/// - Parameters:
///   - path: a file; links are followed.
///   - limit: the most bytes accepted, so that a wrong path (a disk, an endless device) is not swallowed.
///   - acceptingPipes: whether pipes and devices (`/dev/stdin`) are read to their end, as a user's file is. In
///     place of a model's file a pipe is somebody's trap: opened as usual, it would wait for ever.
/// - Throws: `FileError` when the path is missing, a folder, a pipe that is not accepted, unreadable or longer
///   than the limit. An empty file is no error.
public func readFile(
  _ path: String, limit: Int = 1 << 30, acceptingPipes: Bool = true
) throws(FileError) -> [UInt8] {
  let file = try FileDescriptor(path, acceptingPipes ? O_RDONLY : O_RDONLY | O_NONBLOCK)
  let status = try file.status()
  if status.isDirectory { throw .isDirectory(path: path) }
  guard acceptingPipes || status.isRegular else { throw .notRegular(path: path) }
  // The length is only a hint: pipes and /proc have none, and a file may grow as it is read.
  guard !status.isRegular || status.st_size <= limit else { throw .tooLong(path: path, limit: limit) }
  var bytes: [UInt8] = []
  bytes.reserveCapacity(status.isRegular ? Int(status.st_size) : 0)
  let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
  defer { chunk.deallocate() }
  while true {
    let count = try file.read(into: chunk)
    if count == 0 { return bytes }
    guard bytes.count + count <= limit else { throw .tooLong(path: path, limit: limit) }
    bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: chunk[..<count]))
  }
}

/// Why a file is not the JSON document it should be.
public struct JSONDocumentError: Error, Equatable, CustomStringConvertible {
  /// The file.
  public let path: String
  /// What is wrong and where.
  public let fault: JSONError

  /// One line: the path, the fault and its place.
  public var description: String { "\(printable(path)): \(fault)" }
}

/// JSON documents in files: `config.json`, `generation_config.json`, `tokenizer.json` and the like.
public enum JSONDocument {
  /// Reads and parses a file.
  ///
  /// - Parameters:
  ///   - path: a UTF-8 file.
  ///   - limit: the most bytes accepted.
  ///   - maximumDepth: containers within containers that are accepted.
  /// - Throws: `FileError` when the file cannot be read, `JSONDocumentError` when it is not JSON.
  public static func load(_ path: String, limit: Int = 1 << 30, maximumDepth: Int = 128) throws -> JSONValue {
    let bytes = try readFile(path, limit: limit, acceptingPipes: false)
    guard !bytes.isEmpty else { throw FileError.empty(path: path) }
    do {
      return try bytes.withUnsafeBytes { try JSONValue.parse($0, maximumDepth: maximumDepth) }
    } catch let fault as JSONError {
      throw JSONDocumentError(path: path, fault: fault)
    }
  }
}

/// The names in a folder, sorted, without `.` and `..`.
public func folderEntries(_ path: String) throws(FileError) -> [String] {
  guard let folder = opendir(path) else { throw .current(path, "list") }
  defer { closedir(folder) }
  var names: [String] = []
  while let entry = readdir(folder) {
    // Safe: d_name is NUL-terminated within the entry, which lives until the next call.
    let name = withUnsafePointer(to: &entry.pointee.d_name) {
      $0.withMemoryRebound(to: UInt8.self, capacity: 1) { String(decodingCString: $0, as: UTF8.self) }
    }
    if name != "." && name != ".." { names.append(name) }
  }
  return names.sorted()
}

/// Whether there is something at a path, whatever it is and whether or not it can be read.
///
/// Opening what exists and failing says more than treating it as absent.
public func fileExists(_ path: String) -> Bool {
  do {
    return try fileStatus(path) != nil
  } catch {
    return true
  }
}

/// Whether there is a folder, or a link to one, at a path.
public func folderExists(_ path: String) -> Bool { (try? fileStatus(path)?.isDirectory) == true }

/// Makes a folder, and those above it, where they are not there.
///
/// - Throws: `FileError` that names the folder.
public func createFolder(_ path: String) throws(FileError) {
  guard !path.isEmpty, try fileStatus(path)?.isDirectory != true else { return }
  let trimmed = path.hasSuffix("/") ? String(path.dropLast()) : path
  if let slash = trimmed.lastIndex(of: "/"), slash > trimmed.startIndex {
    try createFolder(String(trimmed[..<slash]))
  }
  guard mkdir(trimmed, 0o777) == 0 || errno == EEXIST else { throw .current(trimmed, "create") }
}
