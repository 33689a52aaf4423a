import Foundation
import Inkstone

/// What `inkstone` alone says at a terminal: what there is, and what to do next.
enum Welcome {
  static func text(models: [(name: String, folder: String)], chosen: String?) -> String {
    var lines = ["inkstone \(inkstoneVersion): text from a GPT on an ordinary CPU", ""]
    var option = ""
    if models.isEmpty, chosen == nil {
      lines += ["No model is beside this program. Give a folder in Hugging Face's layout, or a GGUF file."]
      option = " -m MODEL"
    } else {
      lines.append("Models:")
      if let chosen { lines.append("  \(chosen)  (INKSTONE_MODEL)") }
      for (index, model) in models.enumerated() {
        let use = index == 0 && chosen == nil ? "used by default" : "-m \(model.name)"
        lines.append("  \(model.name)  \(model.folder)  (\(use))")
      }
    }
    lines += [
      "", "Try:", "  inkstone\(option) \"人工智能是\" -n 60", "  inkstone chat\(option)",
      "  inkstone doctor", "", "inkstone --help lists everything.", "",
    ]
    return lines.joined(separator: "\n")
  }

  /// Says it.
  static func show() throws {
    let variable = ProcessInfo.processInfo.environment["INKSTONE_MODEL"].flatMap { $0.isEmpty ? nil : $0 }
    try StandardStreams.write(text(models: BundledModels().all, chosen: variable))
  }
}
