import Foundation

/// Real models that lie beside a checkout of the project for its makers; a user does not have them.
enum SharedData {
  static let root = URL(filePath: #filePath).deletingLastPathComponent().appending(
    path: "../../../shared/data"
  )
  .standardizedFileURL

  /// The path of a folder or file, or `nil` when it is not there.
  static func path(_ name: String) -> String? {
    let path = root.appending(path: name).path
    return FileManager.default.fileExists(atPath: path) ? path : nil
  }
}
