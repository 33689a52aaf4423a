import Checkpoints
import Foundation
import JSON
import Testing

@testable import Evaluation

/// Repetition and copying of texts, against nltk and a search by brute force.
@Suite struct SampleTests {
  /// A set of texts and what is known of it.
  struct Case: CustomTestStringConvertible, Sendable {
    let index: Int
    let texts: [String]
    let record: JSONValue

    var testDescription: String { "set \(index)" }
  }

  static let cases: [Case] = {
    let path = URL(filePath: #filePath).deletingLastPathComponent().appending(
      path: "../Reference/Evaluation/samples.json"
    ).standardizedFileURL.path
    let sets = try! JSONDocument.load(path)["sets"]!.array!
    return sets.enumerated().map { index, record in
      Case(index: index, texts: record["texts"]!.array!.map { $0.string! }, record: record)
    }
  }()

  private func expectEqual(_ value: Double?, _ expected: JSONValue?, _ name: String) {
    guard let number = expected?.double else {
      #expect(value == nil && expected?.isNull == true, "\(name)")
      return
    }
    #expect(abs((value ?? .nan) - number) < 1e-12, "\(name): \(String(describing: value)), \(number)")
  }

  @Test(arguments: cases)
  func diversityEqualsNLTK(entry: Case) throws {
    let units = try #require(entry.record["units"]?.array)
    for (text, expected) in zip(entry.texts, units) {
      // Byte for byte: `==` takes canonically equivalent texts for equal.
      #expect(
        TextUnits(text).units.map { Array($0.utf8) } == expected.array?.map { Array($0.string!.utf8) },
        "\(text)")
    }
    let diversity = SampleDiversity(of: entry.texts)
    #expect(diversity.sampleCount == entry.texts.count)
    for (size, expected) in (entry.record["distinct"]?.array ?? []).enumerated() {
      expectEqual(diversity.distinct[size], expected, "distinct-\(size + 1)")
    }
    expectEqual(diversity.sequenceRepetition, entry.record["repetition"], "repetition")
    expectEqual(diversity.selfBLEU, entry.record["self_bleu"], "self-BLEU")
    let broken = entry.texts.filter { $0.contains("\u{FFFD}") }.count
    #expect(diversity.brokenRate == Double(broken) / Double(entry.texts.count))
  }

  /// The long text comes whole, and in pieces that are cut anywhere between characters.
  @Test(arguments: cases)
  func copiesAreFoundAsByLookingForEachPart(entry: Case) throws {
    let documents = try #require(entry.record["documents"]?.array).map { $0.string! }
    let gram = try #require(entry.record["gram"]?.int)
    for pieceLength in [Int.max, 1, 7] {
      var overlap = VerbatimOverlap(entry.texts, gramLength: gram)
      for document in documents {
        var piece = String.UnicodeScalarView()
        for scalar in document.unicodeScalars {
          piece.append(scalar)
          if piece.count == pieceLength {
            overlap.read(String(piece))
            piece = String.UnicodeScalarView()
          }
        }
        overlap.read(String(piece))
        overlap.endDocument()
      }
      for (result, expected) in zip(overlap.results(), try #require(entry.record["overlap"]?.array)) {
        #expect(result.length == expected["length"]?.int)
        #expect(Array(result.longestMatch.utf8) == Array((expected["longest"]?.string ?? "?").utf8))
        expectEqual(result.share, expected["share"], "share")
      }
    }
  }

  @Test func knownValues() {
    // Two texts that are the same are each other's perfect translation; ones that share nothing score 0.
    #expect(
      abs(SampleDiversity(of: ["the cat sat on the mat", "the cat sat on the mat"]).selfBLEU! - 1) < 1e-12)
    #expect(SampleDiversity(of: ["a b c d e", "f g h i j"]).selfBLEU == 0)
    let diversity = SampleDiversity(of: ["a a a a a a"])
    let expected: [Double?] = [1.0 / 6, 1.0 / 5, 1.0 / 4, 1.0 / 3]
    #expect(diversity.distinct == expected)
    #expect(diversity.sequenceRepetition == 1 - 1.0 / 3)
    #expect(diversity.selfBLEU == nil)
    let none = SampleDiversity(of: [])
    #expect(none.distinct == [nil, nil, nil, nil] && none.loopRate == 0 && none.selfBLEU == nil)
  }

  @Test func loopsAreCounted() {
    let loop = "开始。" + String(repeating: "然后他说了一句话。", count: 4)
    #expect(SampleDiversity(of: [loop, "一句平常的话，没有什么重复。", "哈哈哈"]).loopRate == 1.0 / 3)
  }

  @Test func copiesDoNotGoAcrossDocumentsOrSamples() {
    var overlap = VerbatimOverlap(["abcdef", "ghijkl"], gramLength: 3)
    overlap.read("xxabc")
    overlap.endDocument()
    overlap.read("def ghi\n jk")
    #expect(overlap.results().map(\.longestMatch) == ["abc", "ghijk"])
    let shares: [Double?] = [0.5, 0.75]
    #expect(overlap.results().map(\.share) == shares)
  }
}
