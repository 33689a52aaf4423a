"""The decoder families: what `generate.py` must know of each, its committed variants, and random ones for sweeps.

A family says how its checkpoints are named on disk (prefixes that old ones lack, buffers that old ones carry), which
`config.json` spellings older files use, and how to draw a configuration. Settings that change the numbers are drawn at
random, the family's own defaults often among them, so that a `config.json` that leaves them out is tested as well.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Any, Callable

import torch

Config = dict[str, Any]


@dataclass
class Storage:
    """How the weights lie in the file."""

    dtype: str = "float32"  # float32, float16, bfloat16, float64
    prefix: bool = True  # False: names without the base model's prefix, as in the first published checkpoints
    buffers: str | None = None  # buffers of old checkpoints (masks, frequencies): "float32" or "uint8"
    shards: int = 1  # more than one: model-0000x-of-0000y.safetensors and an index
    repeat_head: bool = False  # the file names a tied head once more, as many files do
    full_config: bool = True  # False: config.json names only what differs from the family's defaults
    old_spelling: bool = False  # config.json as before transformers 5: rope_theta and rope_scaling, torch_dtype


@dataclass
class Recipe:
    """One model folder: everything that decides its bytes."""

    name: str
    family: str
    seed: int
    config: Config
    storage: Storage = field(default_factory=Storage)
    eos: int = 1  # how many end tokens the model declares; the script chooses tokens that the model really generates
    pad: str = "absent"  # absent, zero, distinct, eos
    generation: Config | None = field(default_factory=dict)  # more of generation_config.json; None: no such file
    generation_ids: bool = True  # False: generation_config.json names no end token, though config.json does: none counts
    legacy_config: Config = field(default_factory=dict)  # keys of old files, added to config.json
    gain: float = 1.0  # scale of the weight matrices
    profile: str = "full"  # which cases: full, brief, small
    gradients: bool = True

    @property
    def context(self) -> int:
        """The longest sequence that searches may reach."""
        names = ("max_position_embeddings", "n_positions", "seq_length")
        return next(self.config[name] for name in names if name in self.config)

    @property
    def reach(self) -> int:
        """The longest prefill. Dynamic rotary frequencies exist for prompts beyond the trained length."""
        rope = self.config.get("rope_parameters") or {}
        return self.context + 9 if rope.get("rope_type") == "dynamic" else self.context


@dataclass
class Family:
    """What the script must know of a decoder family. A new family is one entry in FAMILIES."""

    model_type: str
    fixtures: Callable[[], list[Recipe]]
    sample: Callable[[random.Random, int], Recipe]
    prefix: str  # the prefix that old checkpoints may lack
    head: str = "lm_head.weight"
    legacy_buffers: Callable[[Any, str], dict[str, torch.Tensor]] | None = None  # full names
    attention: str = "eager"


# ---------------------------------------------------------------------------------------------------------------------
# GPT-2
# ---------------------------------------------------------------------------------------------------------------------

#: All that ACT2FN of transformers 5.23.0 offers: gelu, gelu_10, gelu_fast, gelu_new, gelu_python, gelu_pytorch_tanh,
#: gelu_python_tanh, gelu_accurate, hardswish, laplace, leaky_relu, linear, mish, quick_gelu, relu, relu2, relu6, sigmoid,
#: silu, sqrtsoftplus, swish, tanh, prelu, xielu. Left out: prelu and xielu, which carry trained parameters of their own
#: that no GPT-2 checkpoint has. There is no elu.
GPT2_ACTIVATIONS = [
    "gelu_new", "gelu", "relu", "silu", "swish", "tanh", "gelu_fast", "gelu_pytorch_tanh", "quick_gelu", "sigmoid",
    "mish", "relu2", "leaky_relu", "relu6", "linear", "hardswish", "laplace", "gelu_10", "gelu_python",
    "gelu_python_tanh", "gelu_accurate", "sqrtsoftplus",
]  # fmt: skip


def gpt2_config(vocab: int, positions: int, embed: int, layers: int, heads: int, act: str, **more: Any) -> dict[str, Any]:
    return dict(vocab_size=vocab, n_positions=positions, n_embd=embed, n_layer=layers, n_head=heads,
                activation_function=act, **more)  # fmt: skip


def gpt2_fixtures() -> list[Recipe]:
    """The committed variants, each small, together covering every setting that changes GPT-2's arithmetic or files."""
    c = gpt2_config
    old = {"n_ctx": 31, "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
           "predict_special_tokens": True}  # fmt: skip
    recipes = [
        Recipe("plain", "gpt2", 1, c(101, 48, 24, 2, 4, "gelu_new")),
        Recipe("odd-sizes", "gpt2", 2, c(77, 37, 21, 2, 3, "gelu", n_inner=37), pad="distinct",
               storage=Storage(full_config=False)),
        Recipe("unscaled-attention", "gpt2", 3, c(83, 29, 20, 2, 4, "relu", n_inner=50, scale_attn_weights=False), gain=0.8),
        Recipe("inverse-layer-scale", "gpt2", 4, c(59, 33, 14, 4, 2, "silu", n_inner=31, reorder_and_upcast_attn=True,
                                                    scale_attn_by_inverse_layer_idx=True), pad="zero", gain=1.3),
        Recipe("untied-head", "gpt2", 5, c(83, 40, 18, 2, 3, "gelu_pytorch_tanh", tie_word_embeddings=False), pad="eos"),
        Recipe("original-names", "gpt2", 6, c(89, 31, 16, 2, 4, "gelu_new"), generation=None, legacy_config=old,
               storage=Storage(prefix=False, buffers="float32", full_config=False)),
        Recipe("original-names-uint8", "gpt2", 7, c(61, 23, 15, 2, 3, "gelu_fast"), profile="brief",
               storage=Storage(prefix=False, buffers="uint8")),
        Recipe("bfloat16", "gpt2", 8, c(107, 35, 20, 2, 2, "quick_gelu"), storage=Storage(dtype="bfloat16")),
        Recipe("float16", "gpt2", 9, c(87, 34, 18, 2, 2, "tanh"), storage=Storage(dtype="float16"), pad="distinct",
               gradients=False),
        Recipe("float64", "gpt2", 10, c(71, 27, 15, 3, 5, "sigmoid"), storage=Storage(dtype="float64"), gradients=False),
        Recipe("sharded", "gpt2", 11, c(91, 39, 21, 2, 7, "mish", n_inner=45), storage=Storage(shards=4, repeat_head=True), eos=2),
        Recipe("end-token-list", "gpt2", 12, c(53, 45, 16, 2, 2, "gelu_python"), eos=3, pad="zero", gradients=False),
        Recipe("two-token-vocabulary", "gpt2", 13, c(2, 13, 3, 1, 1, "relu6", n_inner=1), eos=0, profile="brief",
               gain=1.6),
        Recipe("one-layer-one-head", "gpt2", 14, c(59, 26, 16, 1, 1, "leaky_relu", n_inner=7), eos=1,
               generation={"_from_model_config": True}),
        Recipe("large-epsilon", "gpt2", 15, c(67, 30, 15, 2, 3, "relu2", layer_norm_epsilon=0.3), pad="distinct"),
        Recipe("larger-vocabulary", "gpt2", 16, c(1031, 16, 66, 1, 6, "gelu_accurate", n_inner=33), gradients=False,
               profile="brief", storage=Storage(dtype="bfloat16")),
        Recipe("own-settings", "gpt2", 17, c(73, 44, 18, 2, 3, "swish"), eos=2, pad="distinct", gradients=False,
               generation={"repetition_penalty": 1.2, "max_length": 21, "no_repeat_ngram_size": 3, "do_sample": True,
                           "temperature": 0.7, "top_k": 17, "top_p": 0.92}),
        Recipe("own-beams", "gpt2", 18, c(69, 41, 18, 2, 2, "hardswish"), eos=1, gradients=False,
               generation={"num_beams": 3, "early_stopping": True, "length_penalty": 0.6, "max_new_tokens": 11,
                           "min_new_tokens": 2}),
        Recipe("no-end-token", "gpt2", 19, c(57, 28, 14, 2, 2, "gelu_10", layer_norm_epsilon=1e-12), eos=0,
               pad="distinct"),
    ]  # fmt: skip
    # Where the settings come from: an existing generation_config.json hides config.json's end token; without that file
    # config.json's own generation settings count, task_specific_params never.
    recipes += [
        Recipe("end-token-in-config-only", "gpt2", 30, c(47, 25, 12, 2, 3, "linear", n_inner=13), profile="brief",
               generation={"repetition_penalty": 1.1}, generation_ids=False),
        Recipe("settings-in-config", "gpt2", 31, c(49, 27, 12, 1, 2, "laplace", n_inner=11), profile="brief",
               pad="distinct", generation=None, legacy_config=old | {"n_ctx": 27, "no_repeat_ngram_size": 2,
                                                                   "repetition_penalty": 1.3, "max_length": 19}),
    ]  # fmt: skip
    rest = [a for a in GPT2_ACTIVATIONS if a not in {r.config["activation_function"] for r in recipes}]
    for index, act in enumerate(rest):
        recipes.append(Recipe(f"activation-{act.replace('_', '-')}", "gpt2", 40 + index,
                              c(31 + 2 * index, 17, 10, 2, 2, act, n_inner=13), profile="brief"))  # fmt: skip
    return recipes


def gpt2_sample(rng: random.Random, index: int) -> Recipe:
    """A random GPT-2: odd sizes, every setting at random."""
    head_dim, heads = rng.choice([1, 2, 3, 5, 7, 8, 9, 16, 17]), rng.choice([1, 1, 2, 3, 4, 5])
    while not 3 <= head_dim * heads <= 64:
        head_dim, heads = rng.choice([3, 5, 7, 16]), rng.choice([1, 2, 3, 4])
    embed = head_dim * heads
    unscaled = rng.random() < 0.25
    config = gpt2_config(
        vocab=rng.choice([11, 13, 31, 53, 64, 97, 131, 257, 401, 683, rng.randrange(11, 701)]),
        positions=rng.randrange(13, 97),
        embed=embed,
        layers=rng.randint(1, 4),
        heads=heads,
        act=GPT2_ACTIVATIONS[index % len(GPT2_ACTIVATIONS)],
        n_inner=rng.choice([None, None, 1 + rng.randrange(2 * embed), 4 * embed + 1, 8 * rng.randint(1, 12)]),
        layer_norm_epsilon=rng.choice([1e-5, 1e-5, 1e-6, 1e-3, 0.1, 1.0]),
        scale_attn_weights=not unscaled,
        scale_attn_by_inverse_layer_idx=rng.random() < 0.3,
        reorder_and_upcast_attn=rng.random() < 0.3,
        tie_word_embeddings=rng.random() < 0.7,
    )
    generation: dict[str, Any] | None = {}
    if rng.random() < 0.15:
        generation = None
    elif rng.random() < 0.4:
        options = {"repetition_penalty": 1.2, "no_repeat_ngram_size": 3, "max_length": config["n_positions"] - 1,
                   "max_new_tokens": 7, "min_length": 5, "min_new_tokens": 3, "temperature": 0.8, "top_k": 9,
                   "top_p": 0.9, "length_penalty": 1.5, "num_beams": 2, "early_stopping": "never",
                   "do_sample": True, "suppress_tokens": [3, 5], "begin_suppress_tokens": [1],
                   "bad_words_ids": [[2, 4], [6]], "renormalize_logits": True}  # fmt: skip
        generation = {key: options[key] for key in rng.sample(sorted(options), rng.randint(1, 4))}
    bare = rng.random() < 0.25 and config["tie_word_embeddings"]
    storage = Storage(
        dtype=rng.choice(["float32", "float32", "float32", "bfloat16", "float16", "float64"]),
        prefix=not bare,
        buffers=rng.choice([None, "float32", "uint8"]) if rng.random() < 0.4 else None,
        shards=rng.choice([1, 1, 1, 2, 5]),
        full_config=rng.random() < 0.5,
    )
    return Recipe(f"{index:03d}-{config['activation_function'].replace('_', '-')}", "gpt2", 0, config, storage,
                  eos=rng.choice([0, 1, 1, 1, 2, 3]), pad=rng.choice(["absent", "zero", "distinct", "eos"]),
                  generation=generation, gain=rng.uniform(0.7, 1.0) if unscaled else rng.uniform(0.8, 1.5))  # fmt: skip


def gpt2_buffers(config: Any, kind: str) -> dict[str, torch.Tensor]:
    """The causal masks that GPT-2 checkpoints of 2019 to 2023 carry; they hold nothing that is learnt."""
    n = config.n_positions
    mask = torch.tril(torch.ones(n, n)).view(1, 1, n, n).to(getattr(torch, kind))
    return {f"transformer.h.{i}.attn.{name}": value.clone() for i in range(config.n_layer)
            for name, value in (("bias", mask), ("masked_bias", torch.tensor(-1e4)))}  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# What the other families share
# ---------------------------------------------------------------------------------------------------------------------

#: Activations that a gated or plain feed-forward block is tried with besides its family's own.
ACTIVATIONS = ["silu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "quick_gelu", "mish", "tanh", "relu2", "gelu_fast"]

VOCABULARIES = [11, 31, 53, 64, 67, 97, 131, 257]


def maybe(rng: random.Random, config: Config, name: str, values: list[Any], chance: float = 0.6) -> None:
    """Sets a field with this chance; else the family's default counts."""
    if rng.random() < chance:
        config[name] = rng.choice(values)


def shape(rng: random.Random, dimensions: tuple[int, ...] = (4, 6, 8, 10, 12), limit: int = 60) -> tuple[int, int, int]:
    """Head dimension, query heads, key-value heads: odd counts, groups of any size."""
    while True:
        dimension, heads = rng.choice(dimensions), rng.randint(1, 9)
        if 8 <= dimension * heads <= limit:
            return dimension, heads, rng.choice([k for k in range(1, heads + 1) if heads % k == 0])


def rotary(rng: random.Random, context: int, dimension: int, kinds: tuple[str, ...], theta: float = 10000.0) -> Config:
    """`rope_parameters` as transformers 5 saves them."""
    kind = rng.choice(kinds)
    if kind == "dynamic" and dimension < 4:
        kind = "linear"
    p: Config = {"rope_type": kind, "rope_theta": rng.choice([theta, theta, 10000.0, 500.0, 1e6, 123.5])}
    if kind in ("linear", "dynamic"):
        p["factor"] = rng.choice([2.0, 3.5, 4.0])
    elif kind == "llama3":
        p |= {"factor": rng.choice([8.0, 32.0]), "low_freq_factor": rng.choice([1.0, 0.5]),
              "high_freq_factor": rng.choice([4.0, 3.0]), "original_max_position_embeddings": rng.choice([8, 16, 300])}  # fmt: skip
    elif kind == "yarn":
        p |= {"factor": rng.choice([4.0, 2.5]), "original_max_position_embeddings": rng.choice([8, 16, context])}
        maybe(rng, p, "attention_factor", [1.3, 0.8], 0.25)
        maybe(rng, p, "beta_fast", [4.0, 8.0], 0.4)
        maybe(rng, p, "beta_slow", [0.3, 2.0], 0.4)
        maybe(rng, p, "truncate", [False, True], 0.5)
        if rng.random() < 0.3:
            p |= {"mscale": rng.choice([1.0, 0.7]), "mscale_all_dim": rng.choice([0.5, 1.3])}
    elif kind == "longrope":
        p |= longrope(rng, dimension)
    return p


def longrope(rng: random.Random, dimension: int) -> Config:
    p: Config = {"short_factor": [round(rng.uniform(1, 1.5), 3) for _ in range(dimension // 2)],
                 "long_factor": [round(rng.uniform(1.5, 6), 3) for _ in range(dimension // 2)]}  # fmt: skip
    p["original_max_position_embeddings"] = rng.choice([6, 10, 17])
    maybe(rng, p, "factor", [2.0, 4.0], 0.3)
    maybe(rng, p, "attention_factor", [1.2, 0.9], 0.25)
    return p


ROTARY = ("default", "default", "linear", "dynamic", "llama3", "yarn", "yarn")


def gated(rng: random.Random, epsilon: str = "rms_norm_eps", act: str = "hidden_act", own_dimension: bool = True,
          divisible: bool = False, kinds: tuple[str, ...] = ROTARY, theta: float = 10000.0) -> Config:  # fmt: skip
    """The fields of a Llama and its relatives."""
    dimension, heads, groups = shape(rng)
    context = rng.randint(15, 48)
    config: Config = {"vocab_size": rng.choice(VOCABULARIES), "num_hidden_layers": rng.randint(1, 3),
                      "num_attention_heads": heads, "num_key_value_heads": groups,
                      "intermediate_size": rng.choice([7, 24, 37, 50]), "max_position_embeddings": context}  # fmt: skip
    if own_dimension and rng.random() < 0.6:
        hidden = rng.randint(9, 48)
        config |= {"hidden_size": (hidden + heads - 1) // heads * heads if divisible else hidden, "head_dim": dimension}
    else:
        config["hidden_size"] = dimension * heads
    config["rope_parameters"] = rotary(rng, context, dimension, kinds, theta)
    maybe(rng, config, epsilon, [1e-6, 1e-5, 1e-3, 0.1])
    maybe(rng, config, act, ACTIVATIONS, 0.35)
    maybe(rng, config, "tie_word_embeddings", [True, False], 0.7)
    return config


def storage(rng: random.Random, buffers: bool = False, tied: bool = False) -> Storage:
    return Storage(
        dtype=rng.choice(["float32", "float32", "bfloat16", "float16"]),
        prefix=not (tied and rng.random() < 0.3),
        buffers=rng.choice(["float32", "uint8"]) if buffers and rng.random() < 0.3 else None,
        shards=rng.choice([1, 1, 1, 2, 5]),
        repeat_head=tied and rng.random() < 0.3,
        full_config=rng.random() < 0.4,
        old_spelling=rng.random() < 0.4,
    )


def recipe(rng: random.Random, index: int, family: str, config: Config, *, label: str | None = None, gain: float = 1.0,
           buffers: bool = False, tied: bool = False, legacy: Config | None = None) -> Recipe:  # fmt: skip
    """A random model of a sweep around a configuration."""
    rope = config.get("rope_parameters") or {}
    label = label or rope.get("rope_type") or "plain"
    return Recipe(f"{index:03d}-{label}", family, 0, config, storage(rng, buffers, tied),
                  eos=rng.choice([0, 1, 1, 2, 3]), pad=rng.choice(["absent", "zero", "distinct", "eos"]),
                  gain=gain * rng.uniform(0.9, 1.4), profile="brief", legacy_config=legacy or {})  # fmt: skip


def frequency_buffers(pattern: str) -> Callable[[Any, str], dict[str, torch.Tensor]]:
    """`inv_freq` in every block, as Llama checkpoints of 2023 carry it. The values are wrong: they must not be read."""

    def buffers(config: Any, _kind: str) -> dict[str, torch.Tensor]:
        return {pattern.format(i): torch.full((3,), 0.5) for i in range(config.num_hidden_layers)}

    return buffers


LLAMA_BUFFERS = frequency_buffers("model.layers.{}.self_attn.rotary_emb.inv_freq")


def old_spelling(family: str, fields: Config, full: bool) -> Config:
    """Rewrites a configuration as transformers 4 spelt it; settings that agree with the defaults go when not `full`."""
    fields = dict(fields)
    fields["torch_dtype"] = fields.pop("dtype")
    rope = fields.pop("rope_parameters", None)
    if family == "gemma3_text":
        if rope:
            whole, local = dict(rope["full_attention"]), rope["sliding_attention"]
            fields |= {"rope_theta": whole.pop("rope_theta"), "rope_local_base_freq": local["rope_theta"]}
            fields["rope_scaling"] = None if whole.get("rope_type") == "default" else whole
        types = fields.get("layer_types") or []
        for pattern in range(2, 7):
            if types == ["sliding_attention" if (i + 1) % pattern else "full_attention" for i in range(len(types))]:
                del fields["layer_types"]
                fields["sliding_window_pattern"] = pattern
                break
    elif rope:
        rope = dict(rope)
        kind, theta, part = rope.pop("rope_type"), rope.pop("rope_theta"), rope.pop("partial_rotary_factor", None)
        if family == "gpt_neox":
            fields |= {"rotary_emb_base": theta} | ({} if part is None else {"rotary_pct": part})
        else:
            default = {"smollm3": 2e6, "cohere": 5e5, "mixtral": 1e6}.get(family, 10000.0)
            fields |= {"rope_theta": theta} if full or theta != default else {}
            fields |= {} if part is None else {"partial_rotary_factor": part}
        if family == "phi3" and "original_max_position_embeddings" in rope:
            del rope["original_max_position_embeddings"]
        word = "rope_type" if kind in ("llama3", "yarn") and family != "phi3" else "type"
        fields["rope_scaling"] = None if kind == "default" else {word: kind} | rope
        if kind == "default" and not full:
            del fields["rope_scaling"]
    if family in ("qwen2", "qwen3") and not fields.get("use_sliding_window"):
        fields |= {"use_sliding_window": False, "sliding_window": 3, "max_window_layers": 0}  # off: must not be heeded
        fields.pop("layer_types", None)
    return fields


def without_defaults(family: str, fields: Config) -> Config:
    """Leaves out rotary settings that are the family's own; transformers always writes them."""
    theta = {"smollm3": 2e6, "cohere": 5e5, "mixtral": 1e6}.get(family, 10000.0)
    part = {"gpt_neox": 0.25, "phi": 0.5, "stablelm": 0.25, "phi3": 1.0}.get(family)
    own = {"rope_type": "default", "rope_theta": theta} | ({} if part is None else {"partial_rotary_factor": part})
    return {k: v for k, v in fields.items() if k != "rope_parameters" or v != own}


# ---------------------------------------------------------------------------------------------------------------------
# Random models of each family
# ---------------------------------------------------------------------------------------------------------------------


def llama_sample(rng: random.Random, index: int) -> Recipe:
    config = gated(rng, divisible=True)
    maybe(rng, config, "attention_bias", [True, False])
    maybe(rng, config, "mlp_bias", [True, False])
    return recipe(rng, index, "llama", config, buffers=True, tied=config.get("tie_word_embeddings", False),
                  legacy={"pretraining_tp": 1})  # fmt: skip


def mistral_sample(rng: random.Random, index: int) -> Recipe:
    config = gated(rng)
    config["sliding_window"] = rng.choice([None, 2, 3, 5, 8, 11, 100])
    return recipe(rng, index, "mistral", config, label=f"window-{config['sliding_window']}".lower(), buffers=True)


def window_fields(rng: random.Random, config: Config) -> str:
    """Qwen's windows: by the number of the layer, or listed. The cache of transformers 5.23 fails on windows of one."""
    layers = config["num_hidden_layers"]
    choice = rng.choice(["none", "from", "listed"])
    if choice != "none":
        config |= {"use_sliding_window": True, "sliding_window": rng.choice([2, 3, 5, 9])}
    if choice == "from":
        config["max_window_layers"] = rng.randint(0, layers)
    if choice == "listed":
        config["layer_types"] = [rng.choice(["full_attention", "sliding_attention"]) for _ in range(layers)]
    return choice


def qwen2_sample(rng: random.Random, index: int) -> Recipe:
    config = gated(rng, own_dimension=False)
    label = f"{config['rope_parameters']['rope_type']}-windows-{window_fields(rng, config)}"
    return recipe(rng, index, "qwen2", config, label=label, tied=config.get("tie_word_embeddings", False))


def qwen3_sample(rng: random.Random, index: int) -> Recipe:
    config = gated(rng)
    config.setdefault("head_dim", config["hidden_size"] // config["num_attention_heads"])
    maybe(rng, config, "attention_bias", [True, False])
    label = f"{config['rope_parameters']['rope_type']}-windows-{window_fields(rng, config)}"
    return recipe(rng, index, "qwen3", config, label=label, tied=config.get("tie_word_embeddings", False))


def qwen3_moe_sample(rng: random.Random, index: int) -> Recipe:
    config = gated(rng)
    layers, experts = config["num_hidden_layers"], rng.choice([1, 3, 4, 5, 8])
    config |= {"num_experts": experts, "num_experts_per_tok": rng.randint(1, experts),
               "moe_intermediate_size": rng.choice([5, 12, 19])}  # fmt: skip
    maybe(rng, config, "norm_topk_prob", [True, False], 0.8)
    maybe(rng, config, "mlp_only_layers", [[], [0], [layers - 1]], 0.4)
    maybe(rng, config, "decoder_sparse_step", [1, 2], 0.4)
    maybe(rng, config, "attention_bias", [True, False], 0.3)
    if rng.random() < 0.3:
        config |= {"use_sliding_window": True, "sliding_window": rng.choice([2, 6])}
    return recipe(rng, index, "qwen3_moe", config, label=f"experts-{config['num_experts_per_tok']}-of-{experts}")


def mixtral_sample(rng: random.Random, index: int) -> Recipe:
    config = gated(rng, theta=1e6)
    if config["rope_parameters"]["rope_type"] in ("yarn", "dynamic"):  # transformers fails on Mixtral's own null
        config.setdefault("head_dim", config["hidden_size"] // config["num_attention_heads"])
    experts = rng.choice([1, 2, 3, 4, 8])
    config |= {"num_local_experts": experts, "num_experts_per_tok": rng.randint(1, experts)}
    maybe(rng, config, "sliding_window", [None, 3, 7], 0.5)
    return recipe(rng, index, "mixtral", config, label=f"experts-{config['num_experts_per_tok']}-of-{experts}")


def gemma_sample(rng: random.Random, index: int) -> Recipe:
    config = gated(rng)
    config.setdefault("head_dim", config["hidden_size"] // config["num_attention_heads"])
    maybe(rng, config, "attention_bias", [True, False], 0.3)
    if config.get("hidden_act") == "gelu":
        config["hidden_act"] = "gelu_pytorch_tanh"
    found = recipe(rng, index, "gemma", config, tied=config.get("tie_word_embeddings", True))
    if "hidden_act" not in config and rng.random() < 0.5:  # as the published files say it; the tanh form is meant
        found.legacy_config = {"hidden_act": "gelu", "hidden_activation": None}
    return found


def gemma2_sample(rng: random.Random, index: int) -> Recipe:
    config = gated(rng, act="hidden_activation", divisible=True)
    config.setdefault("head_dim", config["hidden_size"] // config["num_attention_heads"])
    config["sliding_window"] = rng.choice([2, 4, 7, 50])
    maybe(rng, config, "query_pre_attn_scalar", [3, 8, 20], 0.9)
    maybe(rng, config, "attn_logit_softcapping", [None, 2.5, 20.0], 0.8)
    maybe(rng, config, "final_logit_softcapping", [None, 1.5, 7.0], 0.8)
    maybe(rng, config, "attention_bias", [True, False], 0.3)
    if rng.random() < 0.4:
        config["layer_types"] = [rng.choice(["full_attention", "sliding_attention"])
                                 for _ in range(config["num_hidden_layers"])]  # fmt: skip
    return recipe(rng, index, "gemma2", config, tied=config.get("tie_word_embeddings", True))


def gemma3_sample(rng: random.Random, index: int) -> Recipe:
    config = gated(rng, act="hidden_activation", divisible=True, kinds=("default", "default", "linear"))
    config.setdefault("head_dim", config["hidden_size"] // config["num_attention_heads"])
    config |= {"sliding_window": rng.choice([2, 4, 7, 50]), "num_hidden_layers": rng.randint(1, 4)}
    label = config["rope_parameters"]["rope_type"]
    config["rope_parameters"] = {
        "full_attention": config["rope_parameters"],
        "sliding_attention": {"rope_type": "default", "rope_theta": rng.choice([10000.0, 77.0])},
    }
    maybe(rng, config, "query_pre_attn_scalar", [3, 8, 20], 0.9)
    maybe(rng, config, "final_logit_softcapping", [None, 1.5, 7.0], 0.5)
    maybe(rng, config, "attention_bias", [True, False], 0.3)
    layers, pattern = config["num_hidden_layers"], rng.choice([2, 3, 6])
    config["layer_types"] = ["sliding_attention" if (i + 1) % pattern else "full_attention" for i in range(layers)]
    if rng.random() < 0.4:
        config["layer_types"] = [rng.choice(["full_attention", "sliding_attention"]) for _ in range(layers)]
    return recipe(rng, index, "gemma3_text", config, label=label, tied=config.get("tie_word_embeddings", True))


def partial(rng: random.Random, config: Config, dimension: int, chance: float, parts: list[float], default: float,
            odd: bool = False) -> None:  # fmt: skip
    """The share of a head that is turned; families that cannot turn an odd number of channels get an even one."""
    rope = config["rope_parameters"]
    rope["partial_rotary_factor"] = rng.choice(parts) if rng.random() < chance else default
    turned = int(dimension * rope["partial_rotary_factor"])
    if turned < 2 or (turned % 2 and (not odd or turned == dimension)):
        rope["partial_rotary_factor"] = 1.0 if dimension % 2 == 0 else (dimension - 1) / dimension + 1e-6
    if rope["rope_type"] == "dynamic" and int(dimension * rope["partial_rotary_factor"]) < 4:
        rope["rope_type"] = "linear"


PARTIAL_ROTARY = ("default", "default", "linear", "dynamic", "yarn")


def phi3_sample(rng: random.Random, index: int) -> Recipe:
    config = gated(rng, own_dimension=False, kinds=("default", "default", "longrope"))
    dimension = config["hidden_size"] // config["num_attention_heads"]
    rope = config["rope_parameters"]
    rope["partial_rotary_factor"] = rng.choice([1.0, 1.0, 0.5, 0.75])
    turned = int(dimension * rope["partial_rotary_factor"])
    if rope["rope_type"] == "longrope":
        if turned % 2:
            rope["partial_rotary_factor"], turned = 1.0, dimension
        rope |= {k: v for k, v in longrope(rng, turned).items() if k.endswith("_factor")}
        config["original_max_position_embeddings"] = rope.pop("original_max_position_embeddings")
        rope["original_max_position_embeddings"] = config["original_max_position_embeddings"]
    config["sliding_window"] = rng.choice([None, 2, 6, 40])
    return recipe(rng, index, "phi3", config, tied=config.get("tie_word_embeddings", False))


def gpt_neox_sample(rng: random.Random, index: int) -> Recipe:
    dimension, heads, _ = shape(rng, (4, 5, 6, 7, 8, 10, 12))
    context = rng.randint(15, 48)
    config: Config = {"vocab_size": rng.choice(VOCABULARIES), "num_hidden_layers": rng.randint(1, 3),
                      "num_attention_heads": heads, "hidden_size": dimension * heads,
                      "intermediate_size": rng.choice([7, 37, 50]), "max_position_embeddings": context,
                      "rope_parameters": rotary(rng, context, dimension, PARTIAL_ROTARY)}  # fmt: skip
    partial(rng, config, dimension, 0.7, [0.25, 0.5, 0.75, 1.0], 0.25, odd=config["rope_parameters"]["rope_type"] == "default")
    maybe(rng, config, "use_parallel_residual", [True, False])
    maybe(rng, config, "attention_bias", [True, False])
    maybe(rng, config, "layer_norm_eps", [1e-5, 1e-3, 0.1])
    maybe(rng, config, "hidden_act", ACTIVATIONS, 0.5)
    maybe(rng, config, "tie_word_embeddings", [True, False], 0.7)
    return recipe(rng, index, "gpt_neox", config, buffers=True, tied=config.get("tie_word_embeddings", False))


def gpt_neox_buffers(config: Any, kind: str) -> dict[str, torch.Tensor]:
    n = config.max_position_embeddings
    mask = torch.tril(torch.ones(n, n)).view(1, 1, n, n).to(getattr(torch, kind))
    return {f"gpt_neox.layers.{i}.attention.{name}": value.clone() for i in range(config.num_hidden_layers)
            for name, value in (("bias", mask), ("masked_bias", torch.tensor(-1e9)),
                                ("rotary_emb.inv_freq", torch.full((2,), 0.5)))}  # fmt: skip


def gptj_sample(rng: random.Random, index: int) -> Recipe:
    dimension, heads, _ = shape(rng, (4, 5, 6, 7, 8, 10, 12))
    config: Config = {"vocab_size": rng.choice(VOCABULARIES), "n_layer": rng.randint(1, 3), "n_head": heads,
                      "n_embd": dimension * heads, "n_positions": rng.randint(15, 48),
                      "rotary_dim": 2 * rng.randint(1, dimension // 2)}  # fmt: skip
    maybe(rng, config, "n_inner", [7, 37, 50])
    maybe(rng, config, "layer_norm_epsilon", [1e-5, 1e-3, 0.1])
    maybe(rng, config, "activation_function", ACTIVATIONS, 0.5)
    maybe(rng, config, "tie_word_embeddings", [True, False], 0.5)
    return recipe(rng, index, "gptj", config, label=f"rotary-{config['rotary_dim']}", buffers=True,
                  tied=config.get("tie_word_embeddings", False))  # fmt: skip


def gptj_buffers(config: Any, kind: str) -> dict[str, torch.Tensor]:
    n = config.n_positions
    mask = torch.tril(torch.ones(n, n)).view(1, 1, n, n).to(getattr(torch, kind))
    return {f"transformer.h.{i}.attn.{name}": value.clone() for i in range(config.n_layer)
            for name, value in (("bias", mask), ("masked_bias", torch.tensor(-1e9)))}  # fmt: skip


def falcon_sample(rng: random.Random, index: int) -> Recipe:
    dimension, heads, groups = shape(rng)
    context = rng.randint(15, 48)
    config: Config = {"vocab_size": rng.choice(VOCABULARIES), "num_hidden_layers": rng.randint(1, 3),
                      "num_attention_heads": heads, "hidden_size": dimension * heads,
                      "max_position_embeddings": context,
                      "rope_parameters": rotary(rng, context, dimension, ("default", "default", "linear", "yarn"))}  # fmt: skip
    layout = rng.choice(["new", "multi-query", "per-head"])
    if layout == "new":
        config |= {"new_decoder_architecture": True, "num_kv_heads": groups}
        maybe(rng, config, "num_ln_in_parallel_attn", [1, 2], 0.7)
        maybe(rng, config, "multi_query", [True, False], 0.5)
    else:
        maybe(rng, config, "multi_query", [layout == "multi-query"], 1.0 if layout == "per-head" else 0.5)
        maybe(rng, config, "parallel_attn", [True, False], 0.7)
        if rng.random() < 0.5:
            config["alibi"] = True
            layout += "-alibi"
    maybe(rng, config, "bias", [True, False])
    maybe(rng, config, "ffn_hidden_size", [7, 37, 50], 0.5)
    maybe(rng, config, "layer_norm_epsilon", [1e-5, 1e-3, 0.1])
    maybe(rng, config, "activation", ACTIVATIONS, 0.3)
    maybe(rng, config, "tie_word_embeddings", [True, False], 0.5)
    return recipe(rng, index, "falcon", config, label=layout, tied=config.get("tie_word_embeddings", True))


def bloom_sample(rng: random.Random, index: int) -> Recipe:
    dimension, heads, _ = shape(rng, (3, 4, 5, 7, 8))
    config: Config = {"vocab_size": rng.choice(VOCABULARIES), "n_layer": rng.randint(1, 3), "n_head": heads,
                      "hidden_size": dimension * heads, "seq_length": rng.randint(15, 48)}  # fmt: skip
    maybe(rng, config, "apply_residual_connection_post_layernorm", [True, False], 0.7)
    maybe(rng, config, "layer_norm_epsilon", [1e-5, 1e-3, 0.1])
    maybe(rng, config, "tie_word_embeddings", [True, False], 0.4)
    old = {"attention_softmax_in_fp32": True, "bias_dropout_fusion": True, "masked_softmax_fusion": True,
           "offset_alibi": 100, "skip_bias_add": True, "skip_bias_add_qkv": False, "unk_token_id": 0}  # fmt: skip
    return recipe(rng, index, "bloom", config, label=f"heads-{heads}", tied=config.get("tie_word_embeddings", True),
                  legacy=old if rng.random() < 0.4 else None)  # fmt: skip


def opt_sample(rng: random.Random, index: int) -> Recipe:
    dimension, heads, _ = shape(rng, (3, 4, 5, 7, 8))
    config: Config = {"vocab_size": rng.choice(VOCABULARIES), "num_hidden_layers": rng.randint(1, 3),
                      "num_attention_heads": heads, "hidden_size": dimension * heads, "ffn_dim": rng.choice([7, 37, 50]),
                      "max_position_embeddings": rng.randint(15, 48)}  # fmt: skip
    maybe(rng, config, "word_embed_proj_dim", [8, 13, 2 * dimension * heads], 0.4)
    maybe(rng, config, "do_layer_norm_before", [True, False])
    maybe(rng, config, "_remove_final_layer_norm", [True, False], 0.2)
    maybe(rng, config, "enable_bias", [True, False], 0.4)
    maybe(rng, config, "layer_norm_elementwise_affine", [True, False], 0.4)
    maybe(rng, config, "activation_function", ACTIVATIONS, 0.5)
    maybe(rng, config, "tie_word_embeddings", [True, False], 0.4)
    label = "before" if config.get("do_layer_norm_before", True) else "after"
    return recipe(rng, index, "opt", config, label=f"norm-{label}", tied=config.get("tie_word_embeddings", True))


def phi_sample(rng: random.Random, index: int) -> Recipe:
    config = gated(rng, epsilon="layer_norm_eps", own_dimension=False, kinds=PARTIAL_ROTARY)
    partial(rng, config, config["hidden_size"] // config["num_attention_heads"], 0.6, [0.25, 0.5, 0.75, 1.0], 0.5)
    maybe(rng, config, "qk_layernorm", [True, False])
    return recipe(rng, index, "phi", config, tied=config.get("tie_word_embeddings", False))


def stablelm_sample(rng: random.Random, index: int) -> Recipe:
    config = gated(rng, epsilon="layer_norm_eps", own_dimension=False, kinds=PARTIAL_ROTARY)
    partial(rng, config, config["hidden_size"] // config["num_attention_heads"], 0.6, [0.25, 0.5, 0.75, 1.0], 0.25)
    maybe(rng, config, "qk_layernorm", [True, False])
    maybe(rng, config, "use_qkv_bias", [True, False])
    maybe(rng, config, "use_parallel_residual", [True, False])
    return recipe(rng, index, "stablelm", config, buffers=True, tied=config.get("tie_word_embeddings", False))


def olmo2_sample(rng: random.Random, index: int) -> Recipe:
    config = gated(rng)
    maybe(rng, config, "attention_bias", [True, False])
    return recipe(rng, index, "olmo2", config, tied=config.get("tie_word_embeddings", False))


def smollm3_sample(rng: random.Random, index: int) -> Recipe:
    config = gated(rng, own_dimension=False, theta=2e6)
    layers = config["num_hidden_layers"] = rng.randint(1, 5)
    maybe(rng, config, "attention_bias", [True, False])
    maybe(rng, config, "mlp_bias", [True, False])
    maybe(rng, config, "no_rope_layer_interval", [2, 3], 0.5)
    maybe(rng, config, "no_rope_layers", [[rng.randint(0, 1) for _ in range(layers)]], 0.4)
    if rng.random() < 0.4:
        config |= {"use_sliding_window": True, "sliding_window": rng.choice([2, 4, 8])}
    return recipe(rng, index, "smollm3", config, tied=config.get("tie_word_embeddings", True))


def granite_sample(rng: random.Random, index: int) -> Recipe:
    config = gated(rng)
    dimension = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    config["attention_multiplier"] = round(rng.uniform(0.6, 2) / math.sqrt(dimension), 4)
    maybe(rng, config, "embedding_multiplier", [12.0, 0.7, 3], 0.7)
    maybe(rng, config, "residual_multiplier", [0.22, 1.4], 0.7)
    maybe(rng, config, "logits_scaling", [8.0, 0.5, 2], 0.7)
    maybe(rng, config, "attention_bias", [True, False])
    maybe(rng, config, "mlp_bias", [True, False])
    return recipe(rng, index, "granite", config, tied=config.get("tie_word_embeddings", False))


def cohere_sample(rng: random.Random, index: int) -> Recipe:
    config = gated(rng, epsilon="layer_norm_eps", theta=5e5, kinds=("default", "default", "linear", "dynamic", "yarn"))
    maybe(rng, config, "logit_scale", [0.5, 1.5, 0.2], 0.8)
    maybe(rng, config, "use_qk_norm", [True, False], 0.7)
    maybe(rng, config, "attention_bias", [True, False])
    return recipe(rng, index, "cohere", config, tied=config.get("tie_word_embeddings", True))


def starcoder2_sample(rng: random.Random, index: int) -> Recipe:
    config = gated(rng, epsilon="norm_epsilon")
    maybe(rng, config, "use_bias", [True, False])
    maybe(rng, config, "sliding_window", [None, 2, 7], 0.7)
    return recipe(rng, index, "starcoder2", config, tied=config.get("tie_word_embeddings", True))


def gpt_bigcode_sample(rng: random.Random, index: int) -> Recipe:
    dimension, heads, _ = shape(rng, (3, 4, 5, 7, 8))
    config: Config = {"vocab_size": rng.choice(VOCABULARIES), "n_layer": rng.randint(1, 3), "n_head": heads,
                      "n_embd": dimension * heads, "n_positions": rng.randint(15, 48)}  # fmt: skip
    maybe(rng, config, "multi_query", [True, False], 0.7)
    maybe(rng, config, "n_inner", [7, 37, 50])
    maybe(rng, config, "scale_attn_weights", [True, False], 0.5)
    maybe(rng, config, "layer_norm_epsilon", [1e-5, 1e-3, 0.1])
    maybe(rng, config, "activation_function", ACTIVATIONS, 0.5)
    maybe(rng, config, "attention_softmax_in_fp32", [True, False], 0.4)
    maybe(rng, config, "tie_word_embeddings", [True, False], 0.5)
    label = "multi-query" if config.get("multi_query", True) else "per-head"
    return recipe(rng, index, "gpt_bigcode", config, label=label, gain=0.8, buffers=True,
                  tied=config.get("tie_word_embeddings", True))  # fmt: skip


def gpt_bigcode_buffers(config: Any, kind: str) -> dict[str, torch.Tensor]:
    mask = torch.tril(torch.ones(config.n_positions, config.n_positions)).to(getattr(torch, kind))
    return {"transformer.bias": mask}


def gpt_neo_sample(rng: random.Random, index: int) -> Recipe:
    dimension, heads, _ = shape(rng, (3, 4, 5, 7, 8))
    layers = rng.randint(1, 4)
    types = rng.choice([[[["global", "local"], 1]] * (layers // 2) + [[["global"], 1]] * (layers % 2),
                        [[["local"], layers]],
                        [[[rng.choice(["global", "local"]) for _ in range(layers)], 1]]])  # fmt: skip
    config: Config = {"vocab_size": rng.choice(VOCABULARIES), "num_layers": layers, "num_heads": heads,
                      "hidden_size": dimension * heads, "max_position_embeddings": rng.randint(15, 48),
                      "attention_types": types, "window_size": rng.choice([1, 2, 5, 9])}  # fmt: skip
    maybe(rng, config, "intermediate_size", [7, 37, 50])
    maybe(rng, config, "layer_norm_epsilon", [1e-5, 1e-3, 0.1])
    maybe(rng, config, "activation_function", ACTIVATIONS, 0.5)
    maybe(rng, config, "tie_word_embeddings", [True, False], 0.5)
    return recipe(rng, index, "gpt_neo", config, label=f"window-{config['window_size']}", gain=0.75, buffers=True,
                  tied=config.get("tie_word_embeddings", True))  # fmt: skip


def gpt_neo_buffers(config: Any, kind: str) -> dict[str, torch.Tensor]:
    n = config.max_position_embeddings
    mask = torch.tril(torch.ones(n, n)).view(1, 1, n, n).to(getattr(torch, kind))
    return {f"transformer.h.{i}.attn.attention.{name}": value.clone() for i in range(config.num_layers)
            for name, value in (("bias", mask), ("masked_bias", torch.tensor(-1e9)))}  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Committed models of each family
# ---------------------------------------------------------------------------------------------------------------------


def small(family: str, name: str, seed: int, *, gradients: bool = False, eos: int = 1, pad: str = "absent",
          gain: float = 1.0, legacy: Config | None = None, store: Config | None = None, **config: Any) -> Recipe:  # fmt: skip
    """A committed model: few channels, two or three layers, the cases of the `small` profile."""
    storage = Storage(**({"dtype": "float32" if gradients else "bfloat16", "full_config": False} | (store or {})))
    return Recipe(name, family, seed, config, storage, eos=eos, pad=pad, gain=gain, profile="small",
                  gradients=gradients, legacy_config=legacy or {})  # fmt: skip


def decoder(hidden: int, layers: int, heads: int, groups: int, wide: int, context: int, vocab: int = 67, **more: Any) -> Config:
    """The common fields of Llama and its relatives."""
    return {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": groups, "intermediate_size": wide, "max_position_embeddings": context,
            "vocab_size": vocab} | more  # fmt: skip


def rope(kind: str = "default", theta: float = 10000.0, **more: Any) -> Config:
    return {"rope_type": kind, "rope_theta": theta} | more


def committed() -> list[Recipe]:
    """Every family once or more; together every setting of issue 4 that changes the numbers."""
    d = decoder
    old = {"old_spelling": True}
    yarn = rope("yarn", 500.0, factor=4.0, original_max_position_embeddings=6, beta_fast=4.0, truncate=False)
    llama3 = rope("llama3", 500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                  original_max_position_embeddings=16)  # fmt: skip
    long = {"short_factor": [1.05, 1.3, 1.2], "long_factor": [1.6, 2.7, 5.5]}
    sliding, whole = "sliding_attention", "full_attention"
    return [
        # Llama: rotary kinds, odd groups, a head dimension that is not hidden / heads, biases.
        small("llama", "llama3-rotary", 101, gradients=True, eos=2, **d(20, 2, 5, 1, 22, 23, rope_parameters=llama3)),
        small("llama", "yarn", 102, store=old | {"full_config": True, "buffers": "float32"}, attention_bias=True,
              mlp_bias=True, head_dim=6, legacy={"pretraining_tp": 1}, rms_norm_eps=1e-3,
              **d(27, 2, 3, 3, 26, 21, rope_parameters=yarn)),
        small("llama", "yarn-mscale", 103, tie_word_embeddings=True, attention_bias=True, hidden_act="gelu",
              store={"shards": 3, "repeat_head": True, "dtype": "float16"},
              **d(24, 2, 6, 2, 19, 25, rope_parameters=rope("yarn", factor=2.5, original_max_position_embeddings=10,
                                                            mscale=1.2, mscale_all_dim=0.6))),
        small("llama", "dynamic", 104, store=old, pad="zero", **d(24, 2, 3, 1, 17, 16, rope_parameters=rope("dynamic", factor=3.5))),
        small("llama", "linear", 105, tie_word_embeddings=True, store=old | {"prefix": False},
              **d(16, 2, 2, 1, 29, 19, rope_parameters=rope("linear", 1e6, factor=4.0))),
        # Mistral, Qwen: windows.
        small("mistral", "window", 110, gradients=True, eos=2, sliding_window=5, **d(20, 2, 2, 1, 18, 24, head_dim=8)),
        small("qwen2", "windows-above", 111, use_sliding_window=True, sliding_window=4, max_window_layers=1,
              tie_word_embeddings=True, **d(24, 3, 6, 3, 21, 22, rope_parameters=rope(theta=1e6))),
        small("qwen2", "window-off", 112, gradients=True, store=old, **d(18, 2, 3, 1, 15, 17)),
        small("qwen3", "query-key-norm", 113, gradients=True, pad="distinct", **d(20, 2, 3, 1, 17, 20, head_dim=8)),
        small("qwen3", "windows-listed", 114, attention_bias=True, use_sliding_window=True, sliding_window=3,
              layer_types=[sliding, whole, sliding], tie_word_embeddings=True,
              **d(16, 3, 4, 2, 23, 21, head_dim=6, rope_parameters=yarn | {"rope_type": "yarn"})),
        # Gemma: norms of 1 + w, scaled embeddings, soft caps, sandwich norms, two rotary bases.
        small("gemma", "published-spelling", 120, eos=3, legacy={"hidden_act": "gelu", "hidden_activation": None}, store=old,
              **d(21, 2, 3, 1, 25, 18, head_dim=8)),
        small("gemma2", "caps", 121, gradients=True, query_pre_attn_scalar=5, attn_logit_softcapping=3.0,
              final_logit_softcapping=4.0, sliding_window=4, **d(16, 2, 2, 1, 14, 20, head_dim=6)),
        small("gemma2", "no-caps", 122, query_pre_attn_scalar=9, attn_logit_softcapping=None, final_logit_softcapping=None,
              sliding_window=3, layer_types=[whole, sliding, sliding], tie_word_embeddings=False,
              **d(18, 3, 3, 3, 20, 17, head_dim=8)),
        small("gemma3_text", "two-bases", 123, query_pre_attn_scalar=8, sliding_window=4, final_logit_softcapping=6.0,
              layer_types=[sliding, whole, sliding],
              rope_parameters={whole: rope("linear", 1e6, factor=4.0), sliding: rope(theta=77.0)},
              **d(20, 3, 4, 2, 19, 22, head_dim=6)),
        small("gemma3_text", "old-pattern", 124, gradients=True, store=old | {"full_config": True}, sliding_window=3,
              query_pre_attn_scalar=4, layer_types=[sliding, whole],
              rope_parameters={whole: rope(theta=1e5), sliding: rope(theta=123.0)}, **d(15, 2, 3, 1, 13, 19, head_dim=4)),
        # Phi: one norm for both branches; fused projections; long and short frequencies.
        small("phi", "plain", 130, gradients=True, **d(16, 2, 2, 2, 20, 19)),
        small("phi", "grouped-query-key-norm", 131, qk_layernorm=True, layer_norm_eps=1e-3, store=old, hidden_act="gelu",
              **d(32, 2, 4, 2, 27, 18, rope_parameters=rope(partial_rotary_factor=0.75))),
        small("phi3", "partial-window", 132, gradients=True, sliding_window=6,
              **d(20, 2, 2, 1, 17, 21, rope_parameters=rope(partial_rotary_factor=0.5))),
        small("phi3", "longrope", 133, original_max_position_embeddings=8, store=old,
              **d(24, 2, 4, 2, 22, 20, rope_parameters=rope("longrope", partial_rotary_factor=1.0, **long))),
        # StableLM: norms with biases, one query-key norm per head.
        small("stablelm", "query-key-norms", 140, gradients=True, qk_layernorm=True, use_qkv_bias=True,
              **d(24, 2, 3, 1, 13, 18)),
        small("stablelm", "parallel", 141, use_parallel_residual=True, store=old | {"buffers": "float32"}, layer_norm_eps=1e-3,
              **d(24, 2, 3, 3, 19, 20, rope_parameters=rope(partial_rotary_factor=0.5))),
        # Norms after the branches; layers without rotary; multipliers; weight-only layer norms.
        small("olmo2", "wide-norms", 150, gradients=True, **d(18, 2, 3, 1, 16, 19)),
        small("smollm3", "every-second-rotary", 151, no_rope_layer_interval=2, use_sliding_window=True, sliding_window=4,
              **d(20, 4, 5, 1, 15, 20)),
        small("granite", "multipliers", 152, gradients=True, embedding_multiplier=3.0, attention_multiplier=0.3,
              residual_multiplier=0.6, logits_scaling=0.5, mlp_bias=True, **d(16, 2, 4, 2, 14, 17)),
        small("cohere", "plain", 153, logit_scale=0.8, **d(20, 2, 5, 1, 17, 19)),
        small("cohere", "query-key-norm", 154, gradients=True, logit_scale=0.4, use_qk_norm=True, attention_bias=True,
              **d(16, 2, 2, 1, 15, 18, head_dim=6, rope_parameters=rope(theta=5e5))),
        small("starcoder2", "window", 155, gradients=True, sliding_window=5, **d(18, 2, 3, 1, 23, 20)),
        # Mixtures of experts.
        small("mixtral", "two-of-three", 160, gradients=True, num_local_experts=3, **d(16, 2, 4, 2, 11, 19, vocab=61)),
        small("qwen3_moe", "sparse-steps", 161, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=9,
              norm_topk_prob=True, decoder_sparse_step=2, **d(16, 4, 2, 1, 21, 18, vocab=61, head_dim=6)),
        small("qwen3_moe", "dense-layer", 162, gradients=True, num_experts=4, num_experts_per_tok=3, moe_intermediate_size=7,
              mlp_only_layers=[0], **d(14, 2, 2, 2, 15, 17, vocab=61, head_dim=4)),
        # GPT relatives.
        small("gpt_neo", "local-windows", 170, gradients=True, gain=0.75, vocab_size=67, hidden_size=15, num_layers=2,
              num_heads=3, attention_types=[[["global", "local"], 1]], window_size=4, max_position_embeddings=21),
        small("gpt_neox", "parallel", 171, gradients=True, vocab_size=67, hidden_size=16, num_hidden_layers=2,
              num_attention_heads=2, intermediate_size=19, max_position_embeddings=20),
        small("gpt_neox", "sequential-odd-rotary", 172, vocab_size=71, hidden_size=30, num_hidden_layers=2,
              num_attention_heads=3, intermediate_size=26, max_position_embeddings=18, use_parallel_residual=False,
              attention_bias=False, layer_norm_eps=1e-3, rope_parameters=rope(theta=500.0, partial_rotary_factor=0.5),
              store=old | {"buffers": "uint8"}),
        small("gptj", "interleaved", 173, gradients=True, vocab_size=67, n_embd=14, n_layer=2, n_head=2, n_positions=19,
              rotary_dim=4),
        small("opt", "norm-before", 174, gradients=True, vocab_size=67, hidden_size=15, num_hidden_layers=2,
              num_attention_heads=3, ffn_dim=22, max_position_embeddings=20, pad="distinct"),
        small("opt", "norm-after-projected", 175, vocab_size=71, hidden_size=20, num_hidden_layers=2, num_attention_heads=4,
              ffn_dim=25, max_position_embeddings=18, do_layer_norm_before=False, word_embed_proj_dim=12,
              store={"prefix": False}),
        small("bloom", "seven-heads", 176, gradients=True, vocab_size=67, hidden_size=21, n_layer=1, n_head=7, seq_length=20),
        small("bloom", "residual-after-norm", 177, vocab_size=67, hidden_size=16, n_layer=2, n_head=4, seq_length=22,
              apply_residual_connection_post_layernorm=True, store={"prefix": False},
              legacy={"attention_softmax_in_fp32": True, "masked_softmax_fusion": True, "offset_alibi": 100,
                      "skip_bias_add": True, "skip_bias_add_qkv": False, "unk_token_id": 0}),
        small("gpt_bigcode", "multi-query", 178, gradients=True, vocab_size=67, n_embd=15, n_layer=2, n_head=3, n_inner=23,
              n_positions=19),
        small("gpt_bigcode", "per-head", 179, vocab_size=71, n_embd=20, n_layer=2, n_head=4, n_inner=23, n_positions=18,
              multi_query=False, store={"buffers": "uint8"}),
        small("falcon", "multi-query", 180, gradients=True, vocab_size=67, hidden_size=18, num_hidden_layers=2,
              num_attention_heads=3, ffn_hidden_size=25, max_position_embeddings=20),
        small("falcon", "new-two-norms", 181, vocab_size=67, hidden_size=24, num_hidden_layers=2, num_attention_heads=6,
              num_kv_heads=2, new_decoder_architecture=True, ffn_hidden_size=29, max_position_embeddings=19),
        small("falcon", "alibi-sequential", 182, vocab_size=67, hidden_size=20, num_hidden_layers=2, num_attention_heads=5,
              alibi=True, bias=True, multi_query=False, parallel_attn=False, ffn_hidden_size=27, max_position_embeddings=23),
    ]  # fmt: skip


def fixtures_of(family: str) -> Callable[[], list[Recipe]]:
    return lambda: [r for r in committed() if r.family == family]


FAMILIES: dict[str, Family] = {
    "gpt2": Family("gpt2", gpt2_fixtures, gpt2_sample, "transformer.", legacy_buffers=gpt2_buffers, attention="sdpa"),
    "gpt_neo": Family("gpt_neo", fixtures_of("gpt_neo"), gpt_neo_sample, "transformer.", legacy_buffers=gpt_neo_buffers),
    "gpt_neox": Family("gpt_neox", fixtures_of("gpt_neox"), gpt_neox_sample, "gpt_neox.", head="embed_out.weight",
                       legacy_buffers=gpt_neox_buffers),
    "gptj": Family("gptj", fixtures_of("gptj"), gptj_sample, "transformer.", legacy_buffers=gptj_buffers),
    "opt": Family("opt", fixtures_of("opt"), opt_sample, "model."),
    "bloom": Family("bloom", fixtures_of("bloom"), bloom_sample, "transformer."),
    "gpt_bigcode": Family("gpt_bigcode", fixtures_of("gpt_bigcode"), gpt_bigcode_sample, "transformer.",
                          legacy_buffers=gpt_bigcode_buffers),
    # Eager attention adds Falcon's ALiBi twice in transformers 5.23; the default implementation, once.
    "falcon": Family("falcon", fixtures_of("falcon"), falcon_sample, "transformer.", attention="sdpa"),
    "starcoder2": Family("starcoder2", fixtures_of("starcoder2"), starcoder2_sample, "model."),
    "llama": Family("llama", fixtures_of("llama"), llama_sample, "model.", legacy_buffers=LLAMA_BUFFERS),
    "mistral": Family("mistral", fixtures_of("mistral"), mistral_sample, "model.", legacy_buffers=LLAMA_BUFFERS),
    "qwen2": Family("qwen2", fixtures_of("qwen2"), qwen2_sample, "model."),
    "qwen3": Family("qwen3", fixtures_of("qwen3"), qwen3_sample, "model."),
    "gemma": Family("gemma", fixtures_of("gemma"), gemma_sample, "model."),
    "gemma2": Family("gemma2", fixtures_of("gemma2"), gemma2_sample, "model."),
    "gemma3_text": Family("gemma3_text", fixtures_of("gemma3_text"), gemma3_sample, "model."),
    "phi": Family("phi", fixtures_of("phi"), phi_sample, "model."),
    "phi3": Family("phi3", fixtures_of("phi3"), phi3_sample, "model."),
    "stablelm": Family("stablelm", fixtures_of("stablelm"), stablelm_sample, "model.", legacy_buffers=LLAMA_BUFFERS),
    "olmo2": Family("olmo2", fixtures_of("olmo2"), olmo2_sample, "model."),
    "smollm3": Family("smollm3", fixtures_of("smollm3"), smollm3_sample, "model."),
    "granite": Family("granite", fixtures_of("granite"), granite_sample, "model."),
    "cohere": Family("cohere", fixtures_of("cohere"), cohere_sample, "model."),
    "mixtral": Family("mixtral", fixtures_of("mixtral"), mixtral_sample, "model."),
    "qwen3_moe": Family("qwen3_moe", fixtures_of("qwen3_moe"), qwen3_moe_sample, "model."),
}  # fmt: skip
