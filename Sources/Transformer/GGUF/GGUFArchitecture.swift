/// How one architecture of GGUF files corresponds to a family of Hugging Face checkpoints: what its tensors are
/// called on both sides, and how their rows lie.
///
/// - SeeAlso: `gguf/tensor_mapping.py` and `convert_hf_to_gguf.py` of llama.cpp.
struct GGUFArchitecture: Sendable {
  /// What lies differently in the two forms.
  enum Transform: Sendable, Equatable {
    /// Nothing.
    case none
    /// The pairs of a rotary embedding: neighbours in GGUF, halves of the head here.
    case queryPairs, keyPairs
    /// A matrix is (inputs, outputs) here and (outputs, inputs) in GGUF.
    case transposed
    /// GGUF holds γ, the checkpoint γ − 1.
    case offsetNorm
    /// One tensor of all experts in GGUF, one per expert here.
    case experts
    /// One tensor of all heads in GGUF, one per head here.
    case heads
    /// Queries, keys and values: one after the other in GGUF, head by head here.
    case perHead
    /// Queries, keys and values: one after the other in GGUF, group by group here.
    case perGroup
  }

  /// One tensor, without suffix.
  struct Tensor: Sendable {
    /// The name in GGUF; `{layer}` stands for the layer's number.
    let gguf: String
    /// The name in the checkpoint; `{expert}` stands for an expert's number, `{head}` for a head's.
    let checkpoint: String
    var transform = Transform.none

    init(_ gguf: String, _ checkpoint: String, _ transform: Transform = .none) {
      self.gguf = gguf
      self.checkpoint = checkpoint
      self.transform = transform
    }
  }

  /// `general.architecture`.
  let name: String
  /// The `model_type` that it becomes.
  let modelType: String
  /// Its tensors.
  let tensors: [Tensor]

  /// The architectures that can be read and written.
  static let all: [GGUFArchitecture] = [
    GGUFArchitecture(
      name: "gpt2", modelType: "gpt2",
      tensors: [
        .init("token_embd", "transformer.wte"), .init("position_embd", "transformer.wpe"),
        .init("output_norm", "transformer.ln_f"), .init("output", "lm_head"),
        .init("blk.{layer}.attn_norm", "transformer.h.{layer}.ln_1"),
        .init("blk.{layer}.attn_qkv", "transformer.h.{layer}.attn.c_attn", .transposed),
        .init("blk.{layer}.attn_output", "transformer.h.{layer}.attn.c_proj", .transposed),
        .init("blk.{layer}.ffn_norm", "transformer.h.{layer}.ln_2"),
        .init("blk.{layer}.ffn_up", "transformer.h.{layer}.mlp.c_fc", .transposed),
        .init("blk.{layer}.ffn_down", "transformer.h.{layer}.mlp.c_proj", .transposed),
      ]),
    GGUFArchitecture(name: "llama", modelType: "llama", tensors: llamaLike(permuted: true)),
    GGUFArchitecture(
      name: "llama", modelType: "mixtral",
      tensors: llamaLike(permuted: true, feedForward: false) + [
        .init("blk.{layer}.ffn_gate_inp", "model.layers.{layer}.block_sparse_moe.gate"),
        .init(
          "blk.{layer}.ffn_gate_exps", "model.layers.{layer}.block_sparse_moe.experts.{expert}.w1", .experts),
        .init(
          "blk.{layer}.ffn_up_exps", "model.layers.{layer}.block_sparse_moe.experts.{expert}.w3", .experts),
        .init(
          "blk.{layer}.ffn_down_exps", "model.layers.{layer}.block_sparse_moe.experts.{expert}.w2", .experts),
      ]),
    GGUFArchitecture(name: "llama", modelType: "mistral", tensors: llamaLike(permuted: true)),
    GGUFArchitecture(name: "qwen2", modelType: "qwen2", tensors: llamaLike()),
    GGUFArchitecture(name: "qwen3", modelType: "qwen3", tensors: llamaLike() + headNorms()),
    GGUFArchitecture(
      name: "qwen3moe", modelType: "qwen3_moe",
      tensors: llamaLike(feedForward: false) + headNorms() + [
        .init("blk.{layer}.ffn_gate_inp", "model.layers.{layer}.mlp.gate"),
        .init("blk.{layer}.ffn_gate_exps", "model.layers.{layer}.mlp.experts.{expert}.gate_proj", .experts),
        .init("blk.{layer}.ffn_up_exps", "model.layers.{layer}.mlp.experts.{expert}.up_proj", .experts),
        .init("blk.{layer}.ffn_down_exps", "model.layers.{layer}.mlp.experts.{expert}.down_proj", .experts),
      ]),
    GGUFArchitecture(name: "gemma", modelType: "gemma", tensors: llamaLike(norm: .offsetNorm)),
    GGUFArchitecture(name: "gemma2", modelType: "gemma2", tensors: gemma2),
    GGUFArchitecture(name: "gemma3", modelType: "gemma3_text", tensors: gemma2 + headNorms(.offsetNorm)),
    GGUFArchitecture(
      name: "phi2", modelType: "phi",
      tensors: [
        .init("token_embd", "model.embed_tokens"), .init("output_norm", "model.final_layernorm"),
        .init("output", "lm_head"),
        .init("blk.{layer}.attn_norm", "model.layers.{layer}.input_layernorm"),
        .init("blk.{layer}.attn_q", "model.layers.{layer}.self_attn.q_proj"),
        .init("blk.{layer}.attn_k", "model.layers.{layer}.self_attn.k_proj"),
        .init("blk.{layer}.attn_v", "model.layers.{layer}.self_attn.v_proj"),
        .init("blk.{layer}.attn_output", "model.layers.{layer}.self_attn.dense"),
        .init("blk.{layer}.ffn_up", "model.layers.{layer}.mlp.fc1"),
        .init("blk.{layer}.ffn_down", "model.layers.{layer}.mlp.fc2"),
      ]),
    GGUFArchitecture(
      name: "phi3", modelType: "phi3",
      tensors: outside + [
        .init("blk.{layer}.attn_norm", "model.layers.{layer}.input_layernorm"),
        .init("blk.{layer}.attn_qkv", "model.layers.{layer}.self_attn.qkv_proj"),
        .init("blk.{layer}.attn_output", "model.layers.{layer}.self_attn.o_proj"),
        .init("blk.{layer}.ffn_norm", "model.layers.{layer}.post_attention_layernorm"),
        .init("blk.{layer}.ffn_up", "model.layers.{layer}.mlp.gate_up_proj"),
        .init("blk.{layer}.ffn_down", "model.layers.{layer}.mlp.down_proj"),
      ]),
    GGUFArchitecture(
      name: "starcoder", modelType: "gpt_bigcode",
      tensors: [
        .init("token_embd", "transformer.wte"), .init("position_embd", "transformer.wpe"),
        .init("output_norm", "transformer.ln_f"), .init("output", "lm_head"),
        .init("blk.{layer}.attn_norm", "transformer.h.{layer}.ln_1"),
        .init("blk.{layer}.attn_qkv", "transformer.h.{layer}.attn.c_attn"),
        .init("blk.{layer}.attn_output", "transformer.h.{layer}.attn.c_proj"),
        .init("blk.{layer}.ffn_norm", "transformer.h.{layer}.ln_2"),
        .init("blk.{layer}.ffn_up", "transformer.h.{layer}.mlp.c_fc"),
        .init("blk.{layer}.ffn_down", "transformer.h.{layer}.mlp.c_proj"),
      ]),
    GGUFArchitecture(
      name: "starcoder2", modelType: "starcoder2",
      tensors: llamaLike(feedForward: false) + [
        .init("blk.{layer}.ffn_up", "model.layers.{layer}.mlp.c_fc"),
        .init("blk.{layer}.ffn_down", "model.layers.{layer}.mlp.c_proj"),
      ]),
    GGUFArchitecture(
      name: "gptneox", modelType: "gpt_neox",
      tensors: [
        .init("token_embd", "gpt_neox.embed_in"), .init("output_norm", "gpt_neox.final_layer_norm"),
        .init("output", "embed_out"),
        .init("blk.{layer}.attn_norm", "gpt_neox.layers.{layer}.input_layernorm"),
        .init("blk.{layer}.attn_qkv", "gpt_neox.layers.{layer}.attention.query_key_value", .perHead),
        .init("blk.{layer}.attn_output", "gpt_neox.layers.{layer}.attention.dense"),
        .init("blk.{layer}.ffn_norm", "gpt_neox.layers.{layer}.post_attention_layernorm"),
        .init("blk.{layer}.ffn_up", "gpt_neox.layers.{layer}.mlp.dense_h_to_4h"),
        .init("blk.{layer}.ffn_down", "gpt_neox.layers.{layer}.mlp.dense_4h_to_h"),
      ]),
    GGUFArchitecture(
      name: "bloom", modelType: "bloom",
      tensors: [
        .init("token_embd", "transformer.word_embeddings"),
        .init("token_embd_norm", "transformer.word_embeddings_layernorm"),
        .init("output_norm", "transformer.ln_f"), .init("output", "lm_head"),
        .init("blk.{layer}.attn_norm", "transformer.h.{layer}.input_layernorm"),
        .init("blk.{layer}.attn_qkv", "transformer.h.{layer}.self_attention.query_key_value", .perHead),
        .init("blk.{layer}.attn_output", "transformer.h.{layer}.self_attention.dense"),
        .init("blk.{layer}.ffn_norm", "transformer.h.{layer}.post_attention_layernorm"),
        .init("blk.{layer}.ffn_up", "transformer.h.{layer}.mlp.dense_h_to_4h"),
        .init("blk.{layer}.ffn_down", "transformer.h.{layer}.mlp.dense_4h_to_h"),
      ]),
    GGUFArchitecture(name: "falcon", modelType: "falcon", tensors: falcon(separateNorms: false)),
    GGUFArchitecture(name: "falcon", modelType: "falcon", tensors: falcon(separateNorms: true)),
    GGUFArchitecture(
      name: "stablelm", modelType: "stablelm",
      tensors: llamaLike() + [
        .init("blk.{layer}.attn_q_norm", "model.layers.{layer}.self_attn.q_layernorm.norms.{head}", .heads),
        .init("blk.{layer}.attn_k_norm", "model.layers.{layer}.self_attn.k_layernorm.norms.{head}", .heads),
      ]),
    GGUFArchitecture(
      name: "olmo2", modelType: "olmo2",
      tensors: llamaLike(norms: false) + headNorms() + [
        .init("blk.{layer}.post_attention_norm", "model.layers.{layer}.post_attention_layernorm"),
        .init("blk.{layer}.post_ffw_norm", "model.layers.{layer}.post_feedforward_layernorm"),
      ]),
    GGUFArchitecture(name: "smollm3", modelType: "smollm3", tensors: llamaLike(permuted: true)),
    GGUFArchitecture(name: "granite", modelType: "granite", tensors: llamaLike(permuted: true)),
    GGUFArchitecture(name: "command-r", modelType: "cohere", tensors: llamaLike() + headNorms()),
  ]

  private static let outside: [Tensor] = [
    .init("token_embd", "model.embed_tokens"), .init("output_norm", "model.norm"), .init("output", "lm_head"),
  ]

  /// Llama's tensors, and those of its many relatives.
  private static func llamaLike(
    permuted: Bool = false, norms: Bool = true, norm: Transform = .none, feedForward: Bool = true
  ) -> [Tensor] {
    [
      .init("token_embd", "model.embed_tokens"), .init("output_norm", "model.norm", norm),
      .init("output", "lm_head"),
      .init("blk.{layer}.attn_q", "model.layers.{layer}.self_attn.q_proj", permuted ? .queryPairs : .none),
      .init("blk.{layer}.attn_k", "model.layers.{layer}.self_attn.k_proj", permuted ? .keyPairs : .none),
      .init("blk.{layer}.attn_v", "model.layers.{layer}.self_attn.v_proj"),
      .init("blk.{layer}.attn_output", "model.layers.{layer}.self_attn.o_proj"),
    ]
      + (norms
        ? [
          .init("blk.{layer}.attn_norm", "model.layers.{layer}.input_layernorm", norm),
          .init("blk.{layer}.ffn_norm", "model.layers.{layer}.post_attention_layernorm", norm),
        ] : [])
      + (feedForward
        ? [
          .init("blk.{layer}.ffn_gate", "model.layers.{layer}.mlp.gate_proj"),
          .init("blk.{layer}.ffn_up", "model.layers.{layer}.mlp.up_proj"),
          .init("blk.{layer}.ffn_down", "model.layers.{layer}.mlp.down_proj"),
        ] : [])
  }

  private static func headNorms(_ transform: Transform = .none) -> [Tensor] {
    [
      .init("blk.{layer}.attn_q_norm", "model.layers.{layer}.self_attn.q_norm", transform),
      .init("blk.{layer}.attn_k_norm", "model.layers.{layer}.self_attn.k_norm", transform),
    ]
  }

  private static func falcon(separateNorms: Bool) -> [Tensor] {
    [
      .init("token_embd", "transformer.word_embeddings"), .init("output_norm", "transformer.ln_f"),
      .init("output", "lm_head"),
      .init("blk.{layer}.attn_qkv", "transformer.h.{layer}.self_attention.query_key_value", .perGroup),
      .init("blk.{layer}.attn_output", "transformer.h.{layer}.self_attention.dense"),
      .init("blk.{layer}.ffn_up", "transformer.h.{layer}.mlp.dense_h_to_4h"),
      .init("blk.{layer}.ffn_down", "transformer.h.{layer}.mlp.dense_4h_to_h"),
    ]
      + (separateNorms
        ? [
          .init("blk.{layer}.attn_norm", "transformer.h.{layer}.ln_mlp"),
          .init("blk.{layer}.attn_norm_2", "transformer.h.{layer}.ln_attn"),
        ] : [.init("blk.{layer}.attn_norm", "transformer.h.{layer}.input_layernorm")])
  }

  private static let gemma2: [Tensor] =
    llamaLike(norms: false, norm: .offsetNorm) + [
      .init("blk.{layer}.attn_norm", "model.layers.{layer}.input_layernorm", .offsetNorm),
      .init("blk.{layer}.post_attention_norm", "model.layers.{layer}.post_attention_layernorm", .offsetNorm),
      .init("blk.{layer}.ffn_norm", "model.layers.{layer}.pre_feedforward_layernorm", .offsetNorm),
      .init("blk.{layer}.post_ffw_norm", "model.layers.{layer}.post_feedforward_layernorm", .offsetNorm),
    ]
}

extension GGUFArchitecture.Transform {
  /// For each row of the checkpoint's tensor, the row of the GGUF's that holds it.
  ///
  /// - Parameters:
  ///   - rows: of the whole tensor.
  ///   - heads: of the queries.
  ///   - groups: of keys and values.
  /// - Returns: nothing where rows lie alike.
  func rowOrder(rows: Int, heads: Int, groups: Int) -> [Int]? {
    switch self {
    case .queryPairs, .keyPairs:
      let count = self == .queryPairs ? heads : groups
      let dimension = rows / max(count, 1)
      guard count > 0, dimension * count == rows, dimension.isMultiple(of: 2) else { return nil }
      let half = dimension / 2
      return (0..<rows).map { row in
        let (head, channel) = row.quotientAndRemainder(dividingBy: dimension)
        return head * dimension + 2 * (channel % half) + channel / half
      }
    case .perHead: return grouped(rows: rows, groups: heads, group: 1)
    case .perGroup: return grouped(rows: rows, groups: groups, group: groups > 0 ? heads / groups : 0)
    default: return nil
    }
  }

  private func grouped(rows: Int, groups: Int, group: Int) -> [Int]? {
    let slots = groups * (group + 2)
    guard slots > 0, rows.isMultiple(of: slots) else { return nil }
    let dimension = rows / slots
    return (0..<rows).map { row in
      let (slot, channel) = row.quotientAndRemainder(dividingBy: dimension)
      let (index, part) = slot.quotientAndRemainder(dividingBy: group + 2)
      let place =
        part < group
        ? index * group + part : part == group ? groups * group + index : groups * (group + 1) + index
      return place * dimension + channel
    }
  }
}
