import Generation
import JSON
import Kernels
import Transformer

/// Runs short pieces of work when it is asked to, so that a program outside can let engines and the machine's limits take turns.
///
/// Each request is a JSON object in one line, each answer another:
///
/// | request | answer |
/// |---|---|
/// | `{"op": "multiply", "seconds": 0.25}` | `{"rate": FLOP/s}` of large products |
/// | `{"op": "read", "seconds": 0.25}` | `{"rate": bytes/s}` of reading memory |
/// | `{"op": "prompt", "start": 0, "count": 512}` | `{"seconds", "tokens", "operations_per_token", "bytes_per_token"}` of the tokens from position `start` on |
/// | `{"op": "decode", "start": 0, "count": 32, "rows": 1}` | the same, one token of each row at a time |
/// | `{"op": "beams", "prompt": 8, "count": 32, "beams": 5, "ngram": 2}` | `{"seconds", "tokens"}` of a whole search |
/// | `{"op": "train", "batch": 4, "block": 256, "count": 1}` | `{"seconds", "tokens", "operations_per_token"}` of whole steps |
///
/// What has to lie before `start` is put there outside of the time. A request that cannot be met is answered with `{"error": …}`.
public final class SliceServer {
  private let description: ModelDescription
  private let limits: MachineLimits
  private let chunk: Int
  private let precision: ProductPrecision
  private let makeDecoder: () throws -> Decoder

  private var loaded: Decoder?
  private var session: InferenceSession?
  private var sessionRows = 0
  private var training: (test: TrainingTest, steps: TrainingSteps)?

  /// Prepares; the model is loaded when it is first needed.
  ///
  /// - Parameters:
  ///   - chunk: tokens of a prompt that are computed at once.
  ///   - precision: how training multiplies.
  ///   - makeDecoder: loads the model.
  public init(
    _ description: ModelDescription, limits: MachineLimits, chunk: Int,
    precision: ProductPrecision = .f32, makeDecoder: @escaping () throws -> Decoder
  ) {
    self.description = description
    self.limits = limits
    self.chunk = chunk
    self.precision = precision
    self.makeDecoder = makeDecoder
  }

  /// Does what a line asks for.
  public func answer(_ line: String) -> JSONValue {
    do {
      return try answer(SliceRequest(line))
    } catch {
      return ["error": .string("\(error)")]
    }
  }

  private func answer(_ request: SliceRequest) throws -> JSONValue {
    switch request.operation {
    case "multiply": return ["rate": .number(limits.multiplicationRate(lasting: try request.seconds()))]
    case "read": return ["rate": .number(limits.readRate(lasting: try request.seconds()))]
    case "prompt": return try prompt(request)
    case "decode": return try decode(request)
    case "beams": return try beams(request)
    case "train": return try train(request)
    default:
      throw BenchmarkError.request(
        field: "op",
        reason: "\"\(request.operation)\" is none of multiply, read, prompt, decode, beams, train")
    }
  }

  private func prompt(_ request: SliceRequest) throws -> JSONValue {
    let (start, count) = try span(request)
    let session = try session(from: start, to: start + count, rows: 1)
    let tokens = ModelBenchmark.tokens(start + count, vocabularySize: session.vocabularySize)
    let time = try seconds { try session.append(Array(tokens[start...])) }
    return record(ModelTest(.prompt, tokenCount: count, depth: start), time, tokens: count, rows: 1)
  }

  private func decode(_ request: SliceRequest) throws -> JSONValue {
    let (start, count) = try span(request)
    let rows = try request.integer("rows", in: 1...64, default: 1)
    if rows > 1, start == 0 {
      throw BenchmarkError.request(field: "start", reason: "several rows have a prompt in common; at least 1")
    }
    let session = try session(from: start, to: start + count, rows: rows)
    let tokens = ModelBenchmark.tokens(start + count * rows, vocabularySize: session.vocabularySize)
    let time = try seconds {
      for step in 0..<count {
        let next = Array(tokens[start + step * rows..<start + (step + 1) * rows])
        // A single first token is a prompt too: there is no row to continue yet.
        if session.length == 0 { try session.append(next) } else { _ = try session.step(next) }
      }
    }
    return record(
      ModelTest(.generation, tokenCount: count, depth: start), time, tokens: count * rows, rows: rows)
  }

  private func beams(_ request: SliceRequest) throws -> JSONValue {
    let length = try request.integer("prompt", in: 1...1_048_576)
    let count = try request.integer("count", in: 1...1_048_576)
    let decoder = try decoder()
    var settings = GenerationConfiguration()
    settings.beamCount = try request.integer("beams", in: 1...64, default: 1)
    settings.noRepeatNGramSize = try request.integer("ngram", in: 0...64, default: 0)
    settings.maximumNewTokens = count
    settings.ignoresEndTokens = true
    let plan = try settings.plan(
      promptLength: length, contextLength: decoder.configuration.contextLength,
      vocabularySize: decoder.configuration.vocabularySize)
    session = nil
    let session = try InferenceSession(
      decoder: decoder, engine: BLASEngine(pool: limits.pool), capacity: plan.maximumLength,
      maximumRows: plan.beamCount, chunkSize: chunk)
    let prompt = ModelBenchmark.tokens(length, vocabularySize: session.vocabularySize)
    var tokens = 0
    let time = try seconds {
      tokens = try generate(prompt: prompt, plan: plan, session: session).sequences[0].tokens.count
    }
    return ["seconds": .number(time), "tokens": .integer(tokens)]
  }

  private func train(_ request: SliceRequest) throws -> JSONValue {
    let batch = try request.integer("batch", in: 1...65_536)
    let block = try request.integer("block", in: 1...description.configuration.contextLength)
    let count = try request.integer("count", in: 1...1_000_000, default: 1)
    let test = TrainingTest(batch: batch, block: block)
    if training?.test != test {
      training = nil
      training = (test, try TrainingSteps(test, of: description, precision: precision, pool: limits.pool))
    }
    let steps = training!.steps
    let batches = (0..<count).map { _ in steps.batch() }
    let time = try seconds { for batch in batches { try steps.run(batch) } }
    return [
      "seconds": .number(time), "tokens": .integer(count * test.tokenCount),
      "operations_per_token": .number(steps.operationsPerToken),
    ]
  }

  /// Where a request begins and how far it goes, within the context.
  private func span(_ request: SliceRequest) throws -> (start: Int, count: Int) {
    let context = description.configuration.contextLength
    let start = try request.integer("start", in: 0...context - 1, default: 0)
    return (start, try request.integer("count", in: 1...context - start))
  }

  private func decoder() throws -> Decoder {
    if let loaded { return loaded }
    let decoder = try makeDecoder()
    loaded = decoder
    return decoder
  }

  /// A session of so many rows that holds the first `start` positions and has room up to `end`.
  private func session(from start: Int, to end: Int, rows: Int) throws -> InferenceSession {
    let decoder = try decoder()
    if let session, session.capacity >= end, sessionRows == rows {
      try fill(session, to: start, rows: rows)
      return session
    }
    session = nil
    var capacity = 1024
    while capacity < end { capacity *= 2 }
    let made = try InferenceSession(
      decoder: decoder, engine: BLASEngine(pool: limits.pool),
      capacity: min(capacity, decoder.configuration.contextLength), maximumRows: rows, chunkSize: chunk)
    session = made
    sessionRows = rows
    try fill(made, to: start, rows: rows)
    return made
  }

  private func fill(_ session: InferenceSession, to start: Int, rows: Int) throws {
    if session.length > start {
      if rows == 1 { session.truncate(to: start) } else { session.reset() }
    }
    guard session.length < start else { return }
    if rows > 1 { session.reset() }
    try session.append(
      Array(ModelBenchmark.tokens(start, vocabularySize: session.vocabularySize)[session.length...]))
    if rows > 1 { session.select(parents: [Int](repeating: 0, count: rows)) }
  }

  private func record(_ test: ModelTest, _ time: Double, tokens: Int, rows: Int) -> JSONValue {
    var record: [(String, JSONValue)] = [("seconds", .number(time)), ("tokens", .integer(tokens))]
    if rows == 1 {
      let cost = ModelCost(description, test: test, chunk: chunk, weights: loaded?.weights)
      record.append(("operations_per_token", .number(cost.operationsPerToken)))
      record.append(("bytes_per_token", .number(cost.bytesPerToken)))
    }
    return .object(JSONObject(record.map { .init(key: $0.0, value: $0.1) }))
  }
}

/// A line that asks for something.
private struct SliceRequest {
  let operation: String
  private let fields: JSONValue

  init(_ line: String) throws {
    fields = try JSONValue.parse(line)
    guard let operation = fields["op"]?.string else {
      throw BenchmarkError.request(
        field: "op", reason: "missing; a request is an object such as {\"op\": \"read\"}")
    }
    self.operation = operation
  }

  func integer(_ field: String, in range: ClosedRange<Int>, default missing: Int? = nil) throws -> Int {
    guard let value = fields[field] ?? missing.map({ .integer($0) }) else {
      throw BenchmarkError.request(field: field, reason: "missing")
    }
    guard let number = value.int, range.contains(number) else {
      throw BenchmarkError.request(
        field: field,
        reason: "must be a whole number from \(range.lowerBound) to \(range.upperBound), is \(value.text())")
    }
    return number
  }

  /// Seconds to spend; a quarter where nothing is said.
  func seconds() throws -> Double {
    guard let value = fields["seconds"] else { return 0.25 }
    guard let number = value.double, number >= 0, number <= 60 else {
      throw BenchmarkError.request(field: "seconds", reason: "must be from 0 to 60, is \(value.text())")
    }
    return number
  }
}
