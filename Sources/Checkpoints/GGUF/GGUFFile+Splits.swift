extension GGUFFile {
  /// Opens a file and, where it is the first of several, all of them.
  ///
  /// Large models are cut into files named `…-00001-of-00003.gguf`; the first holds the metadata.
  ///
  /// - Parameter path: a whole file, or the first of several.
  /// - Returns: the files in their order.
  /// - Throws: what `init(path:)` throws, for each of them; `GGUFError` when they do not belong together.
  public static func openAll(path: String) throws -> [GGUFFile] {
    let first = try GGUFFile(path: path)
    let metadata = first.metadata
    guard let count = try metadata.integer("split.count"), count > 1 else { return [first] }
    guard count < 100_000 else { throw metadata.error("split.count", "is \(count), out of all proportion") }
    if let place = try metadata.integer("split.no"), place != 0 {
      throw metadata.error("split.no", "is \(place): give the first of the \(count) files")
    }
    let ending = suffix(0, of: count)
    guard path.hasSuffix(ending) else {
      throw metadata.error(
        "split.count", "is \(count): the file must be called …\(ending) and stand beside the others")
    }
    var files = [first]
    for place in 1..<count {
      let file = try GGUFFile(path: path.dropLast(ending.utf8.count) + suffix(place, of: count))
      guard try file.metadata.integer("split.no") == place, try file.metadata.integer("split.count") == count
      else { throw file.metadata.error("split.no", "must be \(place) of \(count), as the file's name says") }
      files.append(file)
    }
    if let total = try metadata.integer("split.tensors.count") {
      let found = files.reduce(0) { $0 + $1.tensors.count }
      guard found == total else {
        throw metadata.error("split.tensors.count", "is \(total), but the \(count) files hold \(found)")
      }
    }
    var names: Set<String> = []
    for file in files {
      for tensor in file.tensors where !names.insert(tensor.name).inserted {
        throw GGUFError(path: file.path, subject: .tensor(tensor.name), problem: .duplicate)
      }
    }
    return files
  }

  private static func suffix(_ place: Int, of count: Int) -> String {
    func digits(_ number: Int) -> String {
      let text = String(number)
      return String(repeating: "0", count: max(0, 5 - text.count)) + text
    }
    return "-\(digits(place + 1))-of-\(digits(count)).gguf"
  }
}
