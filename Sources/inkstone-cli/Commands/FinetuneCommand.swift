import ArgumentParser
import Inkstone
import Training

/// `inkstone finetune`: teach a model from examples.
struct FinetuneCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "finetune",
    abstract: "Teach a model from examples: conversations, tasks, prompts with completions, texts.",
    discussion: """
      Examples:
        inkstone finetune -m MODEL --train chat.jsonl --out runs/chat
        inkstone finetune -m MODEL --train chat.jsonl --out runs/lora --lora --lora-rank 16
        inkstone finetune -m MODEL --train tasks.jsonl --out runs/tasks --chat-template chatml
        inkstone finetune -m MODEL --train texts.jsonl --valid held.jsonl --out runs/texts --packing
        inkstone finetune --out runs/chat --resume
        inkstone generate -m MODEL --lora runs/lora/model "..."

      A file holds an example on each line, or a JSON list of them:
        {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", ...}]}
        {"instruction": "...", "input": "...", "output": "..."}
        {"prompt": "...", "completion": "..."}
        {"text": "..."}
      Conversations and tasks are laid out by the model's chat template. Without one,
      messages are lines: the instruction, the input, the answer. Only answers are
      learned, up to the token that ends them, unless --train-on-prompt says otherwise;
      of a text, everything. Examples never attend to one another, and are never padded.
      The loss is the mean over the targets of a whole step.

      Settings come from the first of: flag, --set, the file, the default. RUN/run.json
      records them all. A file is YAML, with the names below.

      Settings:
      \(TrainingOptions.settingsHelp(.fineTuning))

      RUN/model is the result: a model folder in Hugging Face's layout, or with --lora an
      adapter in PEFT's. RUN/best is that of the least validation loss, RUN/checkpoints the
      last ones. Held-out questions are answered before and after, in RUN/answers.json.
      Ctrl-C saves and ends with 130.
      """)

  @Option(
    name: [.customShort("c"), .customLong("config")],
    help: ArgumentHelp("Settings, as YAML.", valueName: "file"))
  var config: String?

  @Option(help: ArgumentHelp("Any setting, such as schedule=linear.", valueName: "key=value"))
  var set: [String] = []

  @Option(name: [.customShort("m"), .customLong("model")], help: "Model folder to start from.")
  var model: String?
  @Option(help: "Examples: JSON Lines or a JSON list.") var train: String?
  @Option(help: "Examples to validate on.") var valid: String?
  @Option(name: [.customShort("o"), .customLong("out")], help: "Folder of the run.") var out: String?
  @Option(help: "chatml, or a file: the layout of conversations, saved with the result.")
  var chatTemplate: String?
  @Flag(help: "Learn questions too.") var trainOnPrompt = false
  @Flag(help: "Fill passes with examples up to batch-size × block-size tokens.") var packing = false
  @Option(help: "How often each example is seen.") var epochs: String?
  @Option(help: "Steps, in place of --epochs.") var iters: String?
  @Option(help: "Examples of one pass.") var batchSize: String?
  @Option(
    name: [.customLong("block-size"), .customLong("max-length")], help: "Tokens of an example at most.")
  var blockSize: String?
  @Option(help: "Passes of one step.") var gradAccumulationSteps: String?
  @Option(help: "After the warm-up.") var learningRate: String?
  @Option(help: "Steps between validations.") var stepsPerEval: String?
  @Option(help: "Steps between checkpoints.") var saveEvery: String?
  @Flag(help: "Learn adapters of low rank, and leave the model as it is.") var lora = false
  @Option(help: "Rank of adapters.") var loraRank: String?
  @Option(help: "Their scale times the rank.") var loraAlpha: String?
  @Option(help: "Dropout of what they read.") var loraDropout: String?
  @Option(help: "all-linear, or ends of names: q_proj,v_proj.") var loraTargets: String?
  @Option(help: "default or pissa.") var loraInit: String?
  @Flag(help: "Compute activations again instead of keeping them.") var recompute = false
  @Option(help: "Seed of order, dropout and adapters.") var seed: String?
  @Option(help: "f32, or bf16 for the operands of products with weights.") var precision: String?
  @Option(name: [.customShort("t"), .customLong("threads")], help: "Threads.") var threads: String?
  @Flag(help: "Go on with the run in --out.") var resume = false
  @Flag(name: [.customShort("q"), .customLong("quiet")], help: "Say nothing but errors and the result.")
  var quiet = false

  func run() throws {
    Interruption.install()
    let settings = try resolvedSettings()
    let trainer = try Trainer(settings, resumes: resume)
    if !quiet { trainer.notes.forEach { StandardStreams.report($0) } }
    var display = TrainingDisplay(isQuiet: quiet, stepCount: trainer.settings.iters)
    let result = try trainer.run(interruption: Interruption.flag) { display.show($0) }
    display.finish()
    if result.isInterrupted {
      StandardStreams.report(
        "stopped after step \(result.step); go on with inkstone finetune --out \(settings.out ?? "") --resume"
      )
      throw ExitCode(Interruption.exitStatus)
    }
    let answers = try AnswerComparison.run(trainer, interruption: Interruption.flag) { count in
      if !quiet, StandardStreams.isErrorTerminal {
        StandardStreams.showProgress("\(count) of \(trainer.questions.count) questions answered")
      }
    }
    if !quiet, StandardStreams.isErrorTerminal, !answers.isEmpty { StandardStreams.showProgress("") }
    var text = ""
    if !answers.isEmpty {
      try trainer.record(AnswerComparison.document(answers), as: "answers.json")
      text = FinetuneCommand.summary(answers)
    }
    if let loss = result.validationLoss {
      let first = result.firstLoss.map { TrainingDisplay.decimal($0, 4) + " -> " } ?? ""
      text += "validation loss \(first)\(TrainingDisplay.decimal(loss, 4)) in "
      text += "\(TrainingDisplay.decimal(result.seconds, 1)) s\n"
    }
    text += "\(settings.lora ? "adapter" : "model") in \(result.model)\n"
    try StandardStreams.write(text)
  }

  /// Some answers before and after, and the means over all.
  private static func summary(_ answers: [AnswerComparison]) -> String {
    func line(_ text: String) -> String {
      let joined = text.split(whereSeparator: \.isNewline).joined(separator: " ⏎ ")
      return joined.count > 160 ? joined.prefix(160) + "…" : joined
    }
    var text = ""
    for answer in answers.prefix(3) {
      text += "question   \(line(answer.question))\nreference  \(line(answer.reference))\n"
      text += "before     \(line(answer.before))\nafter      \(line(answer.after))\n\n"
    }
    let summary = AnswerComparison.Summary(answers)
    func pair(_ pair: (before: Double, after: Double)) -> String {
      "\(TrainingDisplay.decimal(pair.before, 4)) -> \(TrainingDisplay.decimal(pair.after, 4))"
    }
    return text + "ROUGE-L \(pair(summary.rougeL)), exact match \(pair(summary.exact)) "
      + "on \(summary.count) held-out questions\n"
  }

  private func resolvedSettings() throws -> TrainingSettings {
    func given(_ flag: Bool) -> String? { flag ? "true" : nil }
    return try TrainingOptions.resolve(
      .fineTuning, resumes: resume, out: out, config: config, set: set,
      texts: [
        ("model", model), ("train", train), ("valid", valid), ("out", out), ("chat_template", chatTemplate),
        ("lora_targets", loraTargets), ("lora_init", loraInit),
      ],
      values: [
        ("train_on_prompt", given(trainOnPrompt)), ("packing", given(packing)), ("iters", iters),
        ("epochs", epochs), ("batch_size", batchSize), ("block_size", blockSize),
        ("grad_accumulation_steps", gradAccumulationSteps), ("learning_rate", learningRate),
        ("steps_per_eval", stepsPerEval), ("save_every", saveEvery), ("lora", given(lora)),
        ("lora_rank", loraRank), ("lora_alpha", loraAlpha), ("lora_dropout", loraDropout),
        ("recompute", given(recompute)), ("seed", seed), ("threads", threads),
        ("precision", precision),
      ])
  }
}
