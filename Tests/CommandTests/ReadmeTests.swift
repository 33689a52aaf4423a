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
    // Written anew each time: only then does the build look for files that came to this package or left it.
    try Data(manifest.utf8).write(to: URL(filePath: folder + "/Package.swift"))
    let example = blocks.joined(separator: "\n") + "\n"
    let path = folder + "/Sources/Example/main.swift"
    // An unchanged file keeps its date, and the build its results.
    if (try? String(contentsOfFile: path, encoding: .utf8)) != example {
      try Data(example.utf8).write(to: URL(filePath: path))
    }

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
