import Foundation
import Inkstone

/// The models that come with the program: `Models` beside the sources it was built from, or where `make install` put
/// them, `share/inkstone/Models` beside the `bin` of the program.
struct BundledModels {
  /// The one that counts when none is named.
  static let standardName = "inkstone-zh"
  /// The one for conversations, where it is there.
  static let chatName = "inkstone-zh-chat"

  /// Folders that hold models.
  let folders: [String]

  /// Looks around the program that runs.
  init() { self.init(executable: Bundle.main.executablePath) }

  /// Looks around a program.
  ///
  /// - Parameter executable: its path; links are followed.
  init(executable: String?) {
    guard let executable else {
      folders = []
      return
    }
    let program = URL(filePath: executable).resolvingSymlinksInPath()
    let installed = program.deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "share/inkstone/Models")
    var folders = [installed.path]
    // A build lies some folders below the package, at most .build/TRIPLE/CONFIGURATION.
    var folder = program.deletingLastPathComponent()
    for _ in 0..<4 {
      folder = folder.deletingLastPathComponent()
      if fileExists(folder.appending(path: "Package.swift").path) {
        folders.append(folder.appending(path: "Models").path)
        break
      }
    }
    self.folders = folders.filter(folderExists)
  }

  /// Every model: its name and its folder, the standard one first.
  var all: [(name: String, folder: String)] {
    var found: [(name: String, folder: String)] = []
    for folder in folders {
      for name in (try? folderEntries(folder)) ?? [] where !found.contains(where: { $0.name == name }) {
        if BundledModels.isModel("\(folder)/\(name)") { found.append((name, "\(folder)/\(name)")) }
      }
    }
    return found.filter { $0.name == Self.standardName } + found.filter { $0.name != Self.standardName }
  }

  /// The folder of a model by its name.
  func folder(of name: String) -> String? {
    folders.map { "\($0)/\(name)" }.first(where: BundledModels.isModel)
  }

  private static func isModel(_ folder: String) -> Bool {
    folderExists(folder) && ["config.json", "adapter_config.json"].contains { fileExists("\(folder)/\($0)") }
  }
}
