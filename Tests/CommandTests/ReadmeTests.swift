import Foundation
import Testing

/// What the README shows of the library compiles for a user: as a package that depends on this one by path.
@Suite struct ReadmeTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..")
    .standardizedFileURL.path

  @Test func theLibraryExampleCompiles() throws {
    let readme = try String(contentsOfFile: Self.root + "/README.md", encoding: .utf8)
    let blocks = readme.components(separatedBy: "```swift\n").dropFirst().compactMap {
      $0.components(separatedBy: "\n```").first
    }
    #expect(blocks.count == 1)

    // Beside the other products of the build, so that a second run compiles only what changed.
    let folder = Self.root + "/.build-test/readme-example"
    try FileManager.default.createDirectory(
      atPath: folder + "/Sources/Example", withIntermediateDirectories: true)
    let name = URL(filePath: Self.root).lastPathComponent
    let manifest = """
      // swift-tools-version: 6.1
      import PackageDescription

      let package = Package(
        name: "Example", platforms: [.macOS(.v15)], dependencies: [.package(path: "../..")],
        targets: [
          .executableTarget(
            name: "Example", dependencies: [.product(name: "Inkstone", package: "\(name)")],
            swiftSettings: [.swiftLanguageMode(.v6)])
        ])

      """
    func write(_ text: String, _ path: String) throws {
      // An unchanged file keeps its date, and the build its results.
      if (try? String(contentsOfFile: path, encoding: .utf8)) != text {
        try Data(text.utf8).write(to: URL(filePath: path))
      }
    }
    try write(manifest, folder + "/Package.swift")
    try write(blocks.joined(separator: "\n") + "\n", folder + "/Sources/Example/main.swift")

    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["swift", "build", "--package-path", folder]
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    #expect(process.terminationStatus == 0, "\(text.suffix(3000))")
  }
}
