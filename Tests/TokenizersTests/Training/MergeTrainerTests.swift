import Kernels
import Testing

@testable import Tokenizers

/// `do_train` of tokenizers' BpeTrainer, step by step as it is written there: pairs counted word by word, a heap of
/// pairs with the words each was seen in, counts looked up again when a pair comes up.
private struct DirectTrainer {
  struct Pair: Hashable {
    var left: UInt32
    var right: UInt32
  }

  struct Entry {
    var pair: Pair
    var count: UInt64
    var words: Set<Int>
  }

  var texts: [String]
  var ids: [String: UInt32]
  var merges: [[UInt32]] = []
  /// How often a token was made in a second way.
  var repeats = 0

  static func merge(
    _ word: inout [(symbol: UInt32, length: Int)], _ pair: Pair, _ token: UInt32, _ limit: Int
  ) -> [(Pair, Int)] {
    var changes: [(Pair, Int)] = []
    var index = 0
    while index < word.count {
      if index + 1 < word.count, word[index].symbol == pair.left, word[index + 1].symbol == pair.right {
        let length = word[index].length + word[index + 1].length
        if index > 0 {
          let before = word[index - 1]
          changes.append((Pair(left: before.symbol, right: pair.left), -1))
          if before.length + length < limit { changes.append((Pair(left: before.symbol, right: token), 1)) }
        }
        word.replaceSubrange(index...index + 1, with: [(token, length)])
        if index + 1 < word.count {
          let after = word[index + 1]
          changes.append((Pair(left: pair.right, right: after.symbol), -1))
          if after.length + length < limit { changes.append((Pair(left: token, right: after.symbol), 1)) }
        }
      }
      index += 1
    }
    return changes
  }

  mutating func run(
    _ words: [(symbols: [UInt32], count: Int)], size: Int, minimum: Int, limit: Int, prefix: String
  ) {
    var words = words.map { word in (word.symbols.map { (symbol: $0, length: 1) }, word.count) }
    var counts: [Pair: Int] = [:]
    var places: [Pair: Set<Int>] = [:]
    for (index, word) in words.enumerated() {
      for at in word.0.indices.dropFirst() {
        let pair = Pair(left: word.0[at - 1].symbol, right: word.0[at].symbol)
        counts[pair, default: 0] += word.1
        places[pair, default: []].insert(index)
      }
    }
    var queue: [Entry] = []
    func drain() {
      for (pair, words) in places where counts[pair]! > 0 {
        queue.append(Entry(pair: pair, count: UInt64(counts[pair]!), words: words))
      }
      places = [:]
    }
    drain()
    var ranks: [(pair: Pair, token: UInt32)] = []
    while ids.count < size, !queue.isEmpty {
      // Of entries of one pair the first that was queued, which `tokenizers` leaves open.
      var best = 0
      for index in queue.indices.dropFirst() {
        let (entry, top) = (queue[index], queue[best])
        if entry.count > top.count
          || (entry.count == top.count
            && (entry.pair.left, entry.pair.right) < (top.pair.left, top.pair.right))
        {
          best = index
        }
      }
      let now = UInt64(bitPattern: Int64(counts[queue[best].pair]!))
      if queue[best].count != now {
        queue[best].count = now
        continue
      }
      let top = queue.remove(at: best)
      if top.count < 1 || UInt64(minimum) > top.count { break }
      var tail = texts[Int(top.pair.right)]
      if !prefix.isEmpty, tail.hasPrefix(prefix) { tail.removeFirst(prefix.count) }
      let text = texts[Int(top.pair.left)] + tail
      let token: UInt32
      if let known = ids[text] {
        token = known
        repeats += 1
      } else {
        token = UInt32(texts.count)
        texts.append(text)
        ids[text] = token
      }
      ranks.append((top.pair, token))
      for index in top.words.sorted() {
        for (pair, change) in DirectTrainer.merge(&words[index].0, top.pair, token, limit) {
          counts[pair, default: 0] += change * words[index].1
          if change > 0 { places[pair, default: []].insert(index) }
        }
      }
      drain()
    }
    var last: [Pair: Int] = [:]
    for (rank, merge) in ranks.enumerated() { last[merge.pair] = rank }
    merges = ranks.enumerated().filter { last[$1.pair] == $0 }.map {
      [$1.pair.left, $1.pair.right, $1.token]
    }
  }
}

@Suite("The merge trainer against its definition")
struct MergeTrainerTests {
  @Test("Random words, with ties, runs, limits and tokens made in two ways")
  func random() throws {
    var repeats = 0
    for seed in 0..<300 {
      var random = SeededGenerator(seed: UInt64(seed))
      let alphabet = Array(["ab", "abc", "#a", "#ab", "aaab", "abcdefgh"].randomElement(using: &random)!)
      let usesPrefix = alphabet.contains("#") || Bool.random(using: &random)
      let prefix = usesPrefix ? "##" : ""
      var words: [String: Int] = [:]
      for _ in 0..<Int.random(in: 1...60, using: &random) {
        let length = Int.random(in: 1...14, using: &random)
        let word = String((0..<length).map { _ in alphabet.randomElement(using: &random)! })
        words[word, default: 0] += Int.random(in: 1...4, using: &random)
      }
      var vocabulary = TrainingVocabulary()
      let special = seed % 5 == 0 ? ["ab", "aa", "##"] : []
      for text in special { _ = vocabulary.add(Array(text.utf8)) }
      let characters = Set(words.keys.joined()).sorted()
      for character in characters { _ = vocabulary.add(Array(String(character).utf8)) }
      if usesPrefix {
        for character in characters { _ = vocabulary.add(Array(("##" + String(character)).utf8)) }
      }
      func spell(_ word: String) -> [UInt32] {
        word.enumerated().map { index, character in
          vocabulary.id(of: Array(((index > 0 ? prefix : "") + String(character)).utf8))!
        }
      }
      let size = vocabulary.count + Int.random(in: 0...60, using: &random)
      let minimum = Int.random(in: 0...3, using: &random)
      let limit = usesPrefix || Bool.random(using: &random) ? Int.max : Int.random(in: 1...7, using: &random)

      var direct = DirectTrainer(
        texts: vocabulary.texts.map { String(decoding: $0, as: UTF8.self) },
        ids: Dictionary(
          uniqueKeysWithValues: vocabulary.texts.enumerated().map {
            (String(decoding: $1, as: UTF8.self), UInt32($0))
          }))
      direct.run(
        words.keys.sorted().map { (spell($0), words[$0]!) }, size: size, minimum: minimum, limit: limit,
        prefix: prefix)
      repeats += direct.repeats

      for threads in [1, 3] {
        let table = WordTable()
        for (word, count) in words {
          Array(word.utf8).withUnsafeBufferPointer { table.add($0.baseAddress!, $0.count, times: count) }
        }
        let training = TrainingWords(table) { bytes, out in
          let symbols = spell(String(decoding: bytes, as: UTF8.self))
          for (index, symbol) in symbols.enumerated() { out[index] = symbol }
          return symbols.count
        }
        let trainer = MergeTrainer(
          training, vocabulary,
          .init(
            vocabularySize: size, minimumFrequency: minimum, maximumTokenLength: limit,
            prefix: Array(prefix.utf8)), pool: WorkerPool(threadCount: threads), parallelLimit: 2)
        #expect(trainer.run { _ in true })
        #expect(
          trainer.merges.map { [$0.left, $0.right, $0.token] } == direct.merges,
          "seed \(seed), limit \(limit), minimum \(minimum), \(threads) threads")
        #expect(
          trainer.vocabulary.texts.map { String(decoding: $0, as: UTF8.self) } == direct.texts,
          "seed \(seed), limit \(limit), minimum \(minimum), \(threads) threads")
      }
    }
    // Otherwise the joining of lists was not tried.
    #expect(repeats > 20)
  }

  @Test("Many words: lists grow and are packed, and the hash table of pairs is used")
  func large() throws {
    var random = SeededGenerator(seed: 11)
    let alphabet = (0..<1500).map { UInt32(0x4E00 + $0) }
    let table = WordTable()
    var texts: [[UInt8]] = []
    for _ in 0..<3000 {
      var word: [UInt8] = []
      // The first characters are the most frequent, by far.
      for _ in 0..<Int.random(in: 2...20, using: &random) {
        let x = Double.random(in: 0..<1, using: &random)
        UTF8Bytes.append(alphabet[Int(x * x * x * 1500)], to: &word)
      }
      texts.append(word)
      word.withUnsafeBufferPointer { table.add($0.baseAddress!, $0.count) }
    }
    var vocabulary = TrainingVocabulary()
    for codePoint in alphabet {
      var text: [UInt8] = []
      UTF8Bytes.append(codePoint, to: &text)
      _ = vocabulary.add(text)
    }
    func spell(_ text: some Sequence<UInt8>) -> [UInt32] {
      String(decoding: Array(text), as: UTF8.self).unicodeScalars.map { $0.value - 0x4E00 }
    }
    var direct = DirectTrainer(
      texts: vocabulary.texts.map { String(decoding: $0, as: UTF8.self) },
      ids: Dictionary(
        uniqueKeysWithValues: vocabulary.texts.enumerated().map {
          (String(decoding: $1, as: UTF8.self), UInt32($0))
        }
      ))
    var counted: [[UInt8]: Int] = [:]
    for text in texts { counted[text, default: 0] += 1 }
    direct.run(
      counted.map { (spell($0.key), $0.value) }, size: 1540, minimum: 2, limit: .max, prefix: "")
    let training = TrainingWords(table) { bytes, out in
      let symbols = spell(bytes)
      for (index, symbol) in symbols.enumerated() { out[index] = symbol }
      return symbols.count
    }
    let trainer = MergeTrainer(
      training, vocabulary,
      .init(vocabularySize: 1540, minimumFrequency: 2, maximumTokenLength: .max, prefix: []),
      pool: WorkerPool(threadCount: 2), parallelLimit: 16)
    #expect(trainer.run { _ in true })
    #expect(trainer.merges.map { [$0.left, $0.right, $0.token] } == direct.merges)
    #expect(trainer.merges.count == 40)
  }

  @Test("Words are counted whatever their length and number")
  func wordTable() {
    var random = SeededGenerator(seed: 3)
    let (first, second) = (WordTable(), WordTable())
    var expected: [[UInt8]: Int] = [:]
    for _ in 0..<20_000 {
      let word = (0..<Int.random(in: 1...20, using: &random)).map { _ in
        UInt8.random(in: 97...99, using: &random)
      }
      expected[word, default: 0] += 1
      word.withUnsafeBufferPointer {
        (Bool.random(using: &random) ? first : second).add($0.baseAddress!, $0.count)
      }
    }
    first.add(second)
    #expect(first.count == expected.count)
    #expect(first.total == 20_000)
    for index in 0..<first.count {
      #expect(expected[Array(first.bytes(index))] == first.entries[index].count)
    }
  }
}
