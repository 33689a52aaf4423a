import Testing
import _TestSupport

@testable import Corpora

@Suite("Hashes")
struct HashingTests {
  @Test("SHA-256 of the standard's examples")
  func sha256() {
    let expected = [
      "": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      "abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq":
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    ]
    for (text, digest) in expected { #expect(hexadecimal(SHA256.digest(text.utf8)) == digest) }
    #expect(
      hexadecimal(SHA256.digest(repeatElement(UInt8(ascii: "a"), count: 1_000_000)))
        == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
  }

  @Test("The content hash does not depend on how bytes are cut, and is what it was")
  func contentHash() {
    var random = SeededGenerator(seed: 5)
    let bytes = (0..<1000).map { _ in UInt8.random(in: .min ... .max, using: &random) }
    for count in [0, 1, 7, 8, 9, 63, 64, 65, 1000] {
      let whole = bytes[..<count].withUnsafeBytes { ContentHash.of($0) }
      for _ in 0..<20 {
        var hash = ContentHash()
        var at = 0
        while at < count {
          let end = min(count, at + Int.random(in: 0...20, using: &random))
          bytes[at..<end].withUnsafeBytes { hash.update($0) }
          at = end
        }
        #expect(hash.value == whole)
      }
    }
    // Frozen: token files carry these values.
    let text = Array("Inkstone 硯".utf8)
    #expect(text.withUnsafeBytes { ContentHash.of($0) } == 7_124_707_280_037_514_546)
    #expect(text.withUnsafeBytes { ContentHash.of($0, seed: 1) } == 11_702_623_155_200_427_301)
  }
}
