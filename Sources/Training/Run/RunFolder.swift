import CIntrinsics
import Checkpoints
import JSON

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A folder that is removed when nobody needs it any more.
final class TemporaryFolder {
  let path: String

  /// Makes a folder in the system's place for such.
  init() throws {
    let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array((base + "/inkstone-XXXXXX").utf8CString)
    guard let made = mkdtemp(&template) else {
      throw FileError.system(path: base, action: "make a folder in", code: errno)
    }
    path = String(cString: made)
  }

  deinit { removeFolder(path) }
}

/// Removes a folder with its files and folders; what cannot be removed stays.
func removeFolder(_ path: String) {
  for name in folderNames(path) {
    let entry = path + "/" + name
    if folderExists(entry), !isLink(entry) { removeFolder(entry) } else { unlink(entry) }
  }
  rmdir(path)
}

private func isLink(_ path: String) -> Bool {
  var status = stat()
  return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
}

/// The names in a folder, sorted; none when it cannot be read.
func folderNames(_ path: String) -> [String] {
  guard let folder = opendir(path) else { return [] }
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

/// Where a run keeps its checkpoints, its best model, its settings and its curves.
///
/// A checkpoint is a folder that appears under its name only when all its files are complete and on the disk; one
/// that is replaced is there until the new one is. Whatever a killed process leaves behind has a name that begins with
/// `.inkstone-` and is swept away by the next start.
struct RunFolder {
  let path: String

  var checkpoints: String { path + "/checkpoints" }
  var metrics: String { path + "/metrics.jsonl" }
  var settings: String { path + "/run.json" }
  var best: String { path + "/best" }
  var model: String { path + "/model" }

  /// Opens or makes the folder.
  ///
  /// - Parameter resumes: whether a run that is there goes on.
  /// - Throws: `TrainingError.run` or `FileError`, before anything is computed.
  init(_ path: String, resumes: Bool) throws {
    self.path = path.hasSuffix("/") ? String(path.dropLast()) : path
    let exists = fileExists(self.path + "/run.json")
    guard resumes || !exists else {
      throw TrainingError.run(
        path: path, reason: "holds a run already; go on with --resume, or give another folder")
    }
    guard !resumes || exists else {
      throw TrainingError.run(path: path, reason: "holds no run to resume; leave out --resume to begin one")
    }
    do {
      try createFolder(checkpoints)
      try AtomicFile.write("", to: self.path + "/.inkstone-writable")
      unlink(self.path + "/.inkstone-writable")
    } catch let error as FileError {
      throw TrainingError.run(path: path, reason: "cannot be written (\(error))")
    }
    for folder in [self.path, checkpoints] {
      for name in folderNames(folder) where name.hasPrefix(".inkstone-") {
        let entry = folder + "/" + name
        if folderExists(entry) { removeFolder(entry) } else { unlink(entry) }
      }
    }
  }

  /// Refuses a disk without room.
  ///
  /// - Parameter bytes: what the run will keep at most at once.
  func checkSpace(for bytes: Int) throws {
    var status = statvfs()
    guard statvfs(path, &status) == 0 else { return }
    let available = Int(
      clamping: UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize)).partialValue)
    guard available >= bytes else {
      throw TrainingError.run(
        path: path,
        reason: "needs \(bytes >> 20) MB for checkpoints, and the disk has \(available >> 20) MB left; "
          + "free some, lower keep_last, or give another folder")
    }
  }

  /// Steps of the checkpoints that are there, ascending.
  var steps: [Int] {
    folderNames(checkpoints).compactMap { name in
      name.hasPrefix("step-") ? Int(name.dropFirst(5)) : nil
    }.sorted()
  }

  /// The folder of a step's checkpoint.
  func checkpoint(_ step: Int) -> String {
    let digits = String(step)
    return checkpoints + "/step-" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
  }

  /// Removes all but the newest checkpoints.
  func prune(keeping count: Int) {
    for step in steps.dropLast(count) {
      // Renamed first: half a checkpoint must not look like one.
      let gone = checkpoints + "/.inkstone-old-\(step)"
      if rename(checkpoint(step), gone) == 0 { removeFolder(gone) }
    }
  }

  /// Writes a folder that appears, or takes another's place, when all its files are complete.
  ///
  /// - Parameter body: writes files into the folder that it is given.
  static func write(_ target: String, _ body: (String) throws -> Void) throws {
    let parent = target.lastIndex(of: "/").map { String(target[..<$0]) } ?? "."
    let temporary = parent + "/.inkstone-" + String(UInt64.random(in: 0 ... .max), radix: 16) + ".tmp"
    try createFolder(temporary)
    do {
      try body(temporary)
      try synchronise(temporary)
      if folderExists(target) {
        try exchange(temporary, target)
        removeFolder(temporary)
      } else if rename(temporary, target) != 0 {
        throw FileError.system(path: target, action: "put into place", code: errno)
      }
      try synchronise(parent)
    } catch {
      removeFolder(temporary)
      throw error
    }
  }

  /// Swaps two folders; where the file system cannot, the old one is away for an instant.
  private static func exchange(_ new: String, _ old: String) throws {
    if ink_exchange_paths(new, old) == 0 { return }
    let aside = new + ".old"
    guard rename(old, aside) == 0, rename(new, old) == 0, rename(aside, new) == 0 else {
      throw FileError.system(path: old, action: "replace", code: errno)
    }
  }

  private static func synchronise(_ folder: String) throws {
    let file = open(folder, O_RDONLY)
    guard file >= 0 else { throw FileError.system(path: folder, action: "open", code: errno) }
    defer { close(file) }
    guard fsync(file) == 0 else { throw FileError.system(path: folder, action: "synchronise", code: errno) }
  }
}
