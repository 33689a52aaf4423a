import ArgumentParser
import Benchmarking
import Foundation
import Inkstone

/// `inkstone bench`: how fast, beside what the machine allows.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure prompt processing and generation beside the machine's limits.",
    discussion: """
      Examples:
        inkstone bench -m MODEL
        inkstone bench --shape gpt2-124m -p 128,512 -n 128 -t 1,2
        inkstone bench --shape gpt2-124m --dtype f32,bf16,q8_0,q4_K
        inkstone bench --shape gpt2-tiny --engine both -p 16 -n 8 -o json
        inkstone bench --shape gpt2-124m -p 0 -n 128 -np 1,8
        inkstone bench --shape gpt2-124m -p 0 --num-beams 5 --no-repeat-ngram-size 2
        inkstone bench -m MODEL -p 0 -d 0,1024,4096 -ctk q8_0 -ctv q8_0
        inkstone bench --shape gpt2-124m --suite RESULTS
        inkstone bench --shape gpt2-124m --save FOLDER
        inkstone bench --shape gpt2-124m --train 4x256 --precision bf16 -o json
        echo '{"op": "prompt", "count": 512}' | inkstone bench -m MODEL --serve

      Flags and field names are llama-bench's where it has them; pp512 is a
      prompt of 512 tokens, tg128 the generation of 128, @ d1024 after 1024.

      Limits, measured in the same run and in turn with the tests:
        pp  SGEMM rate of 2048 x 2048 x 2048 / operations per token. Operations:
            2 per weight of the blocks, 4 per layer, query channel and visible
            position, 2 per weight of the head / length of the prompt.
        tg  rate of reading 256 MiB / bytes read per token: the weights and
            the head in the type they have, and the cached keys and values.
        train  SGEMM rate / 6 operations per weight; a step is forward pass,
            backward pass and AdamW, in float32.
      "of limit" is the median of ratios of neighbouring slices.

      tg128 x8 decodes eight sequences together: tokens of all of them per second,
      the weights read once per step. With --num-beams and --prompt-lookup a test is
      a search of its own, from a prompt of -d tokens (at least 1).

      Further fields of -o json: "n_parallel", "n_beams", "no_repeat_ngram_size",
      "prompt_lookup", "engine", "dtype", "blas_core", "limit_ts",
      "fraction_of_limit", "fraction_quartiles". Of --train: "n_batch", "n_block",
      "avg_ts", "stddev_ts", "samples_ts", "limit_ts", "fraction_of_limit",
      "memory_bytes" (weights, gradients, moments, activations, logits).

      --serve answers requests, one JSON object per line, with slices, so that
      other engines can take turns with this one (make bench-rivals). The first
      line says "ready"; an answer has "rate", or "seconds" and "tokens", or
      "error". Requests, with what may be left out:
        {"op": "multiply" | "read"[, "seconds": 0.25]}
        {"op": "prompt", "count": 512[, "start": 0]}
        {"op": "decode", "count": 32[, "start": 0, "rows": 1]}
        {"op": "beams", "prompt": 8, "count": 32[, "beams": 1, "ngram": 0]}
        {"op": "train", "batch": 4, "block": 256[, "count": 1]}
      """)

  /// The engines to measure.
  enum Engine: String, ExpressibleByArgument, CaseIterable {
    case blas, naive, both
  }

  @OptionGroup var model: ModelOptions

  @Option(
    help: ArgumentHelp(
      "Random weights of this shape instead: \(ModelShape.named.map(\.name).joined(separator: ", ")), or "
        + "layers=4,heads=4,channels=128,vocabulary=1000,context=1024[,inner=512].", valueName: "name"))
  var shape: String?

  @Option(name: [.customShort("p"), .customLong("n-prompt")], help: "Lengths of prompts; 0 for none.")
  var promptLengths = NumberList([512])

  @Option(name: [.customShort("n"), .customLong("n-gen")], help: "Numbers of generated tokens; 0 for none.")
  var generatedLengths = NumberList([128])

  @Option(name: [.customShort("d"), .customLong("n-depth")], help: "Positions filled before a test.")
  var depths = NumberList([0])

  @Option(
    name: [.customLong("np", withSingleDash: true), .customLong("parallel")],
    help: "Numbers of sequences that are decoded together.")
  var parallel = NumberList([1])

  @Option(help: ArgumentHelp("Generate by beam search too, with so many beams.", valueName: "n"))
  var numBeams: Int?

  @Option(help: ArgumentHelp("Let beams repeat no n-gram of this size.", valueName: "n"))
  var noRepeatNgramSize = 0

  @Option(
    help: ArgumentHelp(
      "Generate greedily too, once as it is and once with up to n tokens guessed from what was there before.",
      valueName: "n"))
  var promptLookup: Int?

  @OptionGroup var cache: CacheTypeOptions

  @Option(name: [.customShort("r"), .customLong("repetitions")], help: "Repetitions of a test.")
  var repetitions = 5

  @Option(
    name: [.customShort("t"), .customLong("threads")],
    help: "Numbers of threads (default: the cores that affinity and control group allow).")
  var threads: NumberList?

  @Option(
    name: [
      .customLong("ub", withSingleDash: true), .customLong("ubatch-size"), .customShort("b"),
      .customLong("batch-size"),
    ], help: "Tokens of a prompt that are computed at once.")
  var batch = 512

  @Option(
    help: ArgumentHelp(
      "How weights are held, one after the other: auto (as the file has them, the default with -m), "
        + WeightFormat.names.dropFirst().joined(separator: ", ") + ".", valueName: "types"))
  var dtype: WeightFormatList?

  @Option(
    help: ArgumentHelp(
      "Time training steps of so many sequences of so many tokens, on random weights.",
      valueName: "BATCHxBLOCK"))
  var train: String?

  @Option(help: "Of --train: f32, or bf16 for the operands of products with weights.")
  var precision: ProductPrecision?

  @Option(help: "blas, naive (plain scalar loops on one thread) or both, slice by slice in turn.")
  var engine: Engine = .blas

  @Option(name: [.customShort("o"), .customLong("output")], help: "md, csv, json or jsonl.")
  var output: ModelReport.Format = .markdown

  @Flag(help: "Count from the first run on.")
  var noWarmup = false

  @Option(
    help: ArgumentHelp(
      "Measure every operation too, naive against BLAS, and write results.md, .csv, .json and .svg there.",
      valueName: "folder"))
  var suite: String?

  @Option(
    help: ArgumentHelp(
      "Write the random model as a folder in Hugging Face's layout, for other engines, and end.",
      valueName: "folder"))
  var save: String?

  @Flag(help: "Answer requests on standard input, one JSON object per line, until it ends.")
  var serve = false

  func validate() throws {
    guard model.model == nil || shape == nil else {
      throw ValidationError("-m and --shape exclude each other; keep one")
    }
    guard save == nil || shape != nil else {
      throw ValidationError("--save writes a random model; give its --shape")
    }
    guard repetitions > 0 else { throw ValidationError("-r must be at least 1, is \(repetitions)") }
    guard batch > 0 else { throw ValidationError("-ub must be at least 1, is \(batch)") }
    if let count = parallel.numbers.first(where: { !(1...1024).contains($0) }) {
      throw ValidationError("-np must be from 1 to 1024, is \(count)")
    }
    if let numBeams, !(2...1024).contains(numBeams) {
      throw ValidationError("--num-beams must be from 2 to 1024, is \(numBeams)")
    }
    if noRepeatNgramSize < 0 || noRepeatNgramSize > 0 && numBeams == nil {
      throw ValidationError("--no-repeat-ngram-size takes a size of 0 or more, and goes with --num-beams")
    }
    if let promptLookup, promptLookup < 1 {
      throw ValidationError("--prompt-lookup must be 1 or more, is \(promptLookup)")
    }
    if let count = threads?.numbers.first(where: { !(1...1024).contains($0) }) {
      throw ValidationError("-t must be from 1 to 1024, is \(count)")
    }
    if suite != nil {
      let lists = [("-p", promptLengths), ("-n", generatedLengths), ("-t", threads ?? NumberList([1]))]
      for (flag, list) in lists where list.numbers.count != 1 || list.numbers[0] == 0 {
        throw ValidationError("--suite takes one number for \(flag), at least 1")
      }
      guard depths.numbers == [0], engine == .blas, save == nil, dtype == nil else {
        throw ValidationError(
          "--suite compares both engines from depth 0 in f32; leave out -d, --engine, --dtype and --save")
      }
    }
    if let train, TrainingTest(train) == nil {
      throw ValidationError("--train takes a batch and a block such as 4x256, not \"\(train)\"")
    }
    if train != nil, suite != nil || save != nil || engine != .blas || dtype != nil {
      throw ValidationError("--train stands alone; leave out --suite, --save, --dtype and --engine")
    }
    if precision != nil, train == nil, !serve {
      throw ValidationError("--precision says how --train multiplies; give --train too")
    }
    if serve {
      guard suite == nil, save == nil, train == nil, engine == .blas, threads?.numbers.count ?? 1 == 1,
        dtype?.formats.count ?? 1 == 1
      else {
        throw ValidationError(
          "--serve takes one model, one type and one number of threads; leave out --suite, --save, --train and --engine"
        )
      }
      return
    }
    if save == nil, train == nil, tests.isEmpty {
      throw ValidationError("nothing to measure: -p and -n are both 0")
    }
  }

  func run() throws {
    Interruption.install()
    let subject = try BenchSubject(model: model, shape: shape)
    if let save { return try subject.save(to: save) }
    if let test = train.flatMap({ TrainingTest($0) }) { return try runTraining(subject, test) }
    if serve { return try answerRequests(subject) }

    let tests = self.tests
    for test in tests { try ModelBenchmark.check(test, of: subject.description) }
    let formats = suite != nil ? [.float32] : dtype?.formats ?? [subject.defaultFormat]
    try MemoryRequirement(
      subject.description, positions: tests.map(\.positions).max() ?? 1,
      sequences: tests.map(\.rows).max() ?? 1, chunk: batch,
      engineCount: engine == .both || suite != nil ? 2 : 1,
      operationRows: suite == nil ? 0 : promptLengths.numbers.max() ?? 0,
      weightByteCount: try formats.map { try subject.weightByteCount($0) }.max()
    ).check(model: subject.name)

    let threadCounts = threads?.numbers ?? [WorkerPool.defaultThreadCount()]
    let machine = MachineDescription(
      version: inkstoneVersion, environment: ProcessInfo.processInfo.environment)
    StandardStreams.note(machine.text(threadCounts: threadCounts) + "\n\n")

    if let suite {
      return try runSuite(subject, try subject.makeDecoder(.float32), machine, threadCounts[0], folder: suite)
    }
    var measurements: [ModelMeasurement] = []
    for format in formats where !Interruption.flag.isRaised {
      // One after the other, so that memory holds one of them at a time.
      let decoder = try subject.makeDecoder(format)
      var settings = settings
      settings.weightType = decoder.weights.typeName(format)
      for count in threadCounts {
        let pool = WorkerPool(threadCount: count)
        let benchmark = ModelBenchmark(
          decoder: decoder, model: subject.description, limits: MachineLimits(pool: pool), settings: settings,
          isInterrupted: { Interruption.flag.isRaised })
        for test in tests where !Interruption.flag.isRaised {
          StandardStreams.note(
            "\(settings.weightType), \(test.name), \(count) \(count == 1 ? "thread" : "threads") …\n")
          measurements += try benchmark.run(test, engines: engines(pool))
        }
      }
    }
    let report = ModelReport(model: subject.reported, machine: machine, measurements: measurements)
    try StandardStreams.write(report.text(output))
    if Interruption.flag.isRaised { throw ExitCode(Interruption.exitStatus) }
  }

  /// Runs slices as they are asked for.
  private func answerRequests(_ subject: BenchSubject) throws {
    let pool = WorkerPool(threadCount: threads?.numbers[0] ?? WorkerPool.defaultThreadCount())
    let format = dtype?.formats[0] ?? subject.defaultFormat
    let server = SliceServer(
      subject.description, limits: MachineLimits(pool: pool), chunk: batch, precision: precision ?? .f32,
      makeDecoder: { try subject.makeDecoder(format) })
    let greeting: JSONValue = [
      "ready": true, "version": .string(inkstoneVersion), "model_type": .string(subject.name),
      "n_threads": .integer(pool.threadCount), "blas_core": .string(BLAS.coreType),
    ]
    try StandardStreams.write(greeting.text() + "\n")
    // There is nothing to finish: a signal ends the program at once.
    Interruption.uninstall()
    while let line = readLine() {
      if line.allSatisfy(\.isWhitespace) { continue }
      try StandardStreams.write(server.answer(line).text() + "\n")
    }
  }

  /// Times training steps.
  private func runTraining(_ subject: BenchSubject, _ test: TrainingTest) throws {
    let context = subject.description.configuration.contextLength
    guard test.block <= context else {
      throw UsageError(
        "--train \(test.batch)x\(test.block): the model has \(context) positions; shorten the block")
    }
    var records: [JSONValue] = []
    for count in threads?.numbers ?? [WorkerPool.defaultThreadCount()] where !Interruption.flag.isRaised {
      StandardStreams.note(
        "train \(test.batch)x\(test.block), \(count) \(count == 1 ? "thread" : "threads") …\n")
      let measurement = try TrainingBenchmark.run(
        test, of: subject.description, limits: MachineLimits(pool: WorkerPool(threadCount: count)),
        precision: precision ?? .f32, repetitions: repetitions,
        isInterrupted: { Interruption.flag.isRaised })
      records.append(measurement.json(model: subject.name))
    }
    switch output {
    case .json: try StandardStreams.write(JSONValue.array(records).text(.indented) + "\n")
    case .jsonLines: for record in records { try StandardStreams.write(record.text() + "\n") }
    case .csv, .markdown:
      let keys = [
        "model_type", "dtype", "n_batch", "n_block", "n_threads", "avg_ts", "limit_ts", "fraction_of_limit",
      ]
      func line(_ cells: [String]) -> String {
        output == .csv ? cells.joined(separator: ",") + "\n" : "| " + cells.joined(separator: " | ") + " |\n"
      }
      var text = line(keys)
      if output == .markdown { text += line(keys.map { _ in "---" }) }
      for record in records { text += line(keys.map { record[$0].map { $0.string ?? $0.text() } ?? "" }) }
      try StandardStreams.write(text)
    }
    if Interruption.flag.isRaised { throw ExitCode(Interruption.exitStatus) }
  }

  /// Measures the operations too, and writes what came out.
  private func runSuite(
    _ subject: BenchSubject, _ decoder: Decoder, _ machine: MachineDescription, _ threadCount: Int,
    folder: String
  ) throws {
    try createFolder(folder)
    var suiteSettings = BenchmarkSuite.Settings()
    suiteSettings.promptLength = promptLengths.numbers[0]
    suiteSettings.generatedLength = generatedLengths.numbers[0]
    suiteSettings.model = settings
    let suite = BenchmarkSuite(
      decoder: decoder, model: subject.description,
      limits: MachineLimits(pool: WorkerPool(threadCount: threadCount)),
      settings: suiteSettings)
    let result = try suite.run(
      isInterrupted: { Interruption.flag.isRaised }, progress: { StandardStreams.note("\($0) …\n") })
    let report = SuiteReport(
      model: subject.reported, machine: machine, threadCount: threadCount, result: result)
    for file in report.files { try AtomicFile.write(file.contents, to: folder + "/" + file.name) }
    try StandardStreams.write(report.markdown)
    StandardStreams.report("results.md, .csv, .json and .svg are in \(folder)")
    if Interruption.flag.isRaised { throw ExitCode(Interruption.exitStatus) }
  }

  private var settings: ModelBenchmark.Settings {
    var settings = ModelBenchmark.Settings()
    settings.repetitions = repetitions
    settings.chunk = batch
    settings.warmsUp = !noWarmup
    settings.cacheTypes = cache.types
    return settings
  }

  private func engines(_ pool: WorkerPool) -> [any ComputeEngine] {
    switch engine {
    case .blas: [BLASEngine(pool: pool)]
    case .naive: [NaiveEngine()]
    case .both: [BLASEngine(pool: pool), NaiveEngine()]
    }
  }

  private var tests: [ModelTest] {
    depths.numbers.flatMap { depth in
      let generated = generatedLengths.numbers.filter { $0 > 0 }
      var tests = promptLengths.numbers.filter { $0 > 0 }.map {
        ModelTest(.prompt, tokenCount: $0, depth: depth)
      }
      for count in generated {
        tests += parallel.numbers.map {
          ModelTest(.generation, tokenCount: count, depth: depth, parallel: $0)
        }
        if let numBeams {
          let kind = ModelTest.Kind.beams(count: numBeams, noRepeatNGramSize: noRepeatNgramSize)
          tests.append(ModelTest(kind, tokenCount: count, depth: depth))
        }
        if let promptLookup {
          tests.append(ModelTest(.lookup(maximum: 0), tokenCount: count, depth: depth))
          tests.append(ModelTest(.lookup(maximum: promptLookup), tokenCount: count, depth: depth))
        }
      }
      return tests
    }
  }
}

extension ModelReport.Format: ExpressibleByArgument {}
extension ProductPrecision: ExpressibleByArgument {}
