import Kernels

extension GGUFArchitecture {
  /// Whether llama.cpp wants a head even of a model whose head is its token embedding.
  var needsHead: Bool { ["gptneox", "olmo2", "phi2", "stablelm"].contains(name) }

  /// What llama.cpp will do otherwise with a file that says all that the model is, one line each.
  ///
  /// - Parameters:
  ///   - configuration: the model.
  ///   - tensors: the names of the file's tensors.
  /// - SeeAlso: `models/` of llama.cpp b11549, which lists each architecture's tensors and keys.
  func notes(_ configuration: DecoderConfiguration, tensors: [String]) -> [String] {
    guard name != "gptj" else { return ["llama.cpp has the name gptj and cannot run it"] }
    var notes: [String] = []
    var patterns: [String] = []
    for tensor in tensors {
      let pattern = tensor.split(separator: ".").drop { $0 == "blk" || $0.allSatisfy(\.isNumber) }
        .joined(separator: ".")
      if !patterns.contains(pattern) { patterns.append(pattern) }
    }
    let surplus = patterns.filter { isSurplus($0, layers: configuration.layerCount) }
    if !surplus.isEmpty {
      notes.append(
        "llama.cpp refuses the file: its \(name) has no tensors \(surplus.joined(separator: ", "))")
    }
    let missing = wantedBiases.filter { !patterns.contains($0) }
    if !missing.isEmpty {
      notes.append("llama.cpp refuses the file: its \(name) wants tensors \(missing.joined(separator: ", "))")
    }
    if !takesHeadDimension, configuration.attention.queryWidth != configuration.hiddenSize {
      notes.append("llama.cpp refuses the file: heads of its \(name) are as wide together as the model")
    }
    func ignores(_ what: String) { notes.append("llama.cpp pays no heed to \(what) in its \(name)") }
    let windows = configuration.layers.compactMap(\.window)
    if !["gemma2", "gemma3"].contains(name), let least = windows.min(), least < configuration.contextLength {
      ignores("attention windows")
    }
    if ["gemma2", "gemma3"].contains(name) {
      let isLargest = configuration.layerCount == (name == "gemma2" ? 46 : 62)
      let shape = configuration.attention
      let usual = isLargest ? configuration.hiddenSize / shape.queryHeadCount : shape.headDimension
      if configuration.attentionScale != Float(1 / Double(usual).squareRoot()) {
        ignores("the scale of attention")
      }
    }
    if name == "smollm3",
      configuration.layers.indices.contains(where: {
        (configuration.layers[$0].rotary != nil) == ($0 + 1).isMultiple(of: 4)
      })
    {
      ignores("which layers have rotary positions")
    }
    if name == "qwen3moe", configuration.experts?.normalizesShares == false {
      ignores("experts' shares that do not add up to one")
    }
    return notes
  }

  /// Whether llama.cpp's architecture lacks a tensor, so that it refuses a file with it.
  private func isSurplus(_ tensor: String, layers: Int) -> Bool {
    switch tensor {
    case "attn_output.bias":
      [
        "command-r", "falcon", "gemma", "gemma2", "gemma3", "olmo2", "qwen2", "qwen3", "qwen3moe", "smollm3",
        "stablelm",
      ].contains(name)
    case "attn_qkv.bias": name == "falcon"
    case "ffn_up.bias", "ffn_gate.bias", "ffn_down.bias": ["falcon", "smollm3"].contains(name)
    case "ffn_norm.weight", "ffn_norm.bias": name == "falcon"
    case "ffn_gate.weight", "ffn_up.weight", "ffn_down.weight": name == "qwen3moe"
    case "attn_q_norm.weight", "attn_k_norm.weight", "attn_q_norm.bias", "attn_k_norm.bias":
      name == "phi2" || name == "command-r" && layers < 64
    case "output.weight": ["command-r", "gemma", "gemma2"].contains(name)
    case "rope_freqs.weight": !["llama", "granite"].contains(name)
    case "rope_factors_long.weight", "rope_factors_short.weight":
      !["llama", "granite", "phi3"].contains(name)
    default: false
    }
  }

  /// Biases that llama.cpp does not do without.
  private var wantedBiases: [String] {
    switch name {
    case "bloom", "gpt2", "gptneox", "starcoder": ["attn_qkv.bias", "attn_output.bias"]
    case "starcoder2": ["attn_output.bias", "ffn_up.bias", "ffn_down.bias"]
    default: []
    }
  }

  /// Whether llama.cpp computes heads that are not as wide together as the model.
  private var takesHeadDimension: Bool {
    ["gemma", "gemma2", "gemma3", "granite", "llama", "qwen3", "qwen3moe", "smollm3"].contains(name)
  }
}
