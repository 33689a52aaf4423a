import Foundation
import Testing

/// Folders that a sweep of the generators has written (see Tests/Reference/README.md).
@Suite(.enabled(if: Fixtures.sweep != nil, "set INKSTONE_TOKENIZER_SWEEP to a folder of the generators"))
struct SweepTests {
  @Test(arguments: Fixtures.sweepNames)
  func equalsTheReference(name: String) throws {
    let root = try #require(Fixtures.sweep)
    let file = try Fixtures.json(root.appending(path: name + "/cases.json"))
    let path = file["path"]?.string ?? Fixtures.path(name, in: root)
    try ReferenceTests.compare(.load(from: path), file, name)
  }
}
