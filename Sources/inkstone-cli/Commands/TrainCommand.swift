import ArgumentParser
import Inkstone
import Training

/// `inkstone train`: a model from data, from scratch or from a checkpoint.
struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Train a model: from scratch, from a checkpoint, or on from where a run was left.",
    discussion: """
      Examples:
        inkstone train -c run.yaml
        inkstone train -c run.yaml --learning-rate 3e-4 --out runs/second
        inkstone train --train tokens.bin --tokenizer FOLDER --out runs/first --iters 5000 \\
          --set model.model_type=llama --set model.hidden_size=256 ...
        inkstone train --train more.bin --init-from MODEL --out runs/more
        inkstone train --out runs/first --resume

      Settings come from the first of: flag, --set, the file, the default. RUN/run.json
      records them all. A file is YAML:
        model: {model_type: llama, hidden_size: 256, num_hidden_layers: 6,
                num_attention_heads: 8, intermediate_size: 688}
        train: tokens.bin        # of inkstone data pack, or a text
        tokenizer: FOLDER        # or characters, learned from the text
        out: runs/first
        iters: 5000

      Settings:
      \(TrainingOptions.settingsHelp(.pretraining))

      RUN/model is the result, in Hugging Face's layout; RUN/best the model of the least
      validation loss; RUN/checkpoints the last ones, each a model folder too. Curves are
      in RUN/metrics.jsonl and in TensorBoard's events. Ctrl-C saves and ends with 130.
      """)

  @Option(
    name: [.customShort("c"), .customLong("config")],
    help: ArgumentHelp("Settings, as YAML.", valueName: "file"))
  var config: String?

  @Option(
    help: ArgumentHelp("Any setting, such as schedule=wsd or model.hidden_size=256.", valueName: "key=value"))
  var set: [String] = []

  @Option(help: "Token file of data pack, or a text.") var train: String?
  @Option(help: "Token file or text to validate on.") var valid: String?
  @Option(help: "Folder of the tokenizer, or characters.") var tokenizer: String?
  @Option(name: [.customLong("init-from")], help: "Model folder to start from.") var initFrom: String?
  @Option(name: [.customShort("o"), .customLong("out")], help: "Folder of the run.") var out: String?
  @Option(help: "Steps.") var iters: String?
  @Option(help: "Sequences of one pass.") var batchSize: String?
  @Option(help: "Tokens of a sequence.") var blockSize: String?
  @Option(help: "Passes of one step.") var gradAccumulationSteps: String?
  @Option(help: "After the warm-up.") var learningRate: String?
  @Option(help: "Steps between validations.") var stepsPerEval: String?
  @Option(help: "Steps between checkpoints.") var saveEvery: String?
  @Option(help: "Seed of weights, order and dropout.") var seed: String?
  @Option(help: "f32, or bf16 for the operands of products with weights.") var precision: String?
  @Option(name: [.customShort("t"), .customLong("threads")], help: "Threads.") var threads: String?
  @Flag(help: "Go on with the run in --out.") var resume = false
  @Flag(name: [.customShort("q"), .customLong("quiet")], help: "Say nothing but errors and the result.")
  var quiet = false

  func run() throws {
    Interruption.install()
    let settings = try resolvedSettings()
    let trainer = try Trainer(settings, resumes: resume)
    var display = TrainingDisplay(isQuiet: quiet, stepCount: settings.iters)
    let result = try trainer.run(interruption: Interruption.flag) { display.show($0) }
    display.finish()
    if result.isInterrupted {
      StandardStreams.report(
        "stopped after step \(result.step); go on with inkstone train --out \(settings.out ?? "") --resume")
      throw ExitCode(Interruption.exitStatus)
    }
    var text = "model in \(result.model)\n"
    if let sample = result.sample { text = sample + "\n\n" + text }
    if let loss = result.validationLoss {
      text +=
        "validation loss \(TrainingDisplay.decimal(loss, 4)) in \(TrainingDisplay.decimal(result.seconds, 1)) s\n"
    }
    try StandardStreams.write(text)
  }

  private func resolvedSettings() throws -> TrainingSettings {
    try TrainingOptions.resolve(
      .pretraining, resumes: resume, out: out, config: config, set: set,
      texts: [
        ("train", train), ("valid", valid), ("tokenizer", tokenizer), ("init_from", initFrom), ("out", out),
      ],
      values: [
        ("iters", iters), ("batch_size", batchSize), ("block_size", blockSize),
        ("grad_accumulation_steps", gradAccumulationSteps), ("learning_rate", learningRate),
        ("steps_per_eval", stepsPerEval), ("save_every", saveEvery), ("seed", seed), ("threads", threads),
        ("precision", precision),
      ])
  }
}
