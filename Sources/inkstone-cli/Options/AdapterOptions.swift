import ArgumentParser
import Inkstone

/// Which adapter goes with the model.
struct AdapterOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Adapter to merge into the model as it loads: a folder of inkstone finetune --lora, or of PEFT.",
      valueName: "folder"))
  var lora: String?
}
