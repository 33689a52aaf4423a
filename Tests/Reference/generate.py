#!/usr/bin/env python3
"""Writes tiny random models and the regression references that `inkstone verify` replays.

    generate.py --fixtures                         rebuild the committed fixtures beside this script
    generate.py --sweep 60 --seed 1000 --out DIR   make 60 further random models with the full set of cases
    generate.py --check DIR                        reload every model below DIR and reproduce its reference

A model folder is a complete Hugging Face checkpoint (`config.json`, `generation_config.json`, safetensors weights) with
`reference/reference.json` and `reference/reference.safetensors` beside it. Every reference is computed from the files of
that folder, loaded as float32 by transformers, whatever type they are stored in. Sources of the numbers:

- logits, hidden states, processed scores, tokens, sequence scores: the float32 model;
- token_logprobs: log_softmax in float64 of the float32 logits;
- loss and gradients: the same weights in float64, the gradients then rounded to float32 (float32 autograd is compared
  with them and must lie within the tolerance). Float64 means float64: where a model asks for float32, as most norms
  and softmaxes do, it gets float64.

What is known of each family stands in `families.py`.

A case whose decisions hang on rounding is not a reference. Decoding cases are kept only when (1) the float64 model takes
the same decisions, (2) no decision had a margin under `MARGIN`, (3) no beam fell back on the placeholder scores
(-1e9, -inf), whose order `topk` leaves open, and (4) beam scores agree with float64's to `SCORE_AGREEMENT`. Processed
scores are kept only when the same tokens survive with every logit moved by the tolerance. In a mixture of experts no
choice of experts may be closer than `ROUTING_MARGIN`. A dropped case is tried again with other prompts.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import json
import math
import platform
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, Callable

import jsonschema
import safetensors
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList
from torch.overrides import TorchFunctionMode
from transformers.pytorch_utils import Conv1D

from families import FAMILIES, Recipe, old_spelling, without_defaults

HERE = Path(__file__).resolve().parent
FIXTURES = HERE / "Fixtures"
SCHEMA = HERE / "schema.json"

MARGIN = 5e-5
SCORE_AGREEMENT = 1e-5
ROUTING_MARGIN = 1e-3
ATTEMPTS = 5
#: Scores below this are placeholders of the beam search, not probabilities.
PLACEHOLDER = -1e8

LOGITS_TOLERANCE = 5e-5  # absolute, and once more relative
LOSS_TOLERANCE = 1e-6  # relative
SCORE_TOLERANCE = 5e-5  # absolute


# ---------------------------------------------------------------------------------------------------------------------
# Model folders
# ---------------------------------------------------------------------------------------------------------------------


def random_weights(model: torch.nn.Module, seed: int, gain: float) -> None:
    """Fills every parameter so that each one matters: no bias is zero, no norm is one, logits spread over some nats.

    Knows modules, not families. Token embeddings feed the residual stream and, when tied, the head: rows of length 2.5
    give logits a standard deviation of about 2.5 over normalised states. So that greedy continuations do not settle on
    one token at once, token rows have one length, positions weigh three times as much, and matrices map a constant to
    nothing (activations with a positive mean would otherwise push every state the same way).
    """
    generator = torch.Generator().manual_seed(seed)

    def noise(parameter: torch.Tensor, scale: float, mean: float = 0.0) -> None:
        parameter.copy_(mean + scale * torch.randn(parameter.shape, generator=generator))

    seen: set[int] = set()
    with torch.no_grad():
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if id(parameter) in seen:
                    continue
                seen.add(id(parameter))
                if "norm" in type(module).__name__.lower():
                    # Most norms start as ones; Gemma's, which add one, as zeros.
                    noise(parameter, 0.3, mean=float(parameter.mean()))
                elif parameter.dim() == 1:
                    noise(parameter, 0.3)
                elif parameter.shape[0] == getattr(model.config, "vocab_size", 0):
                    noise(parameter, 1.0)
                    parameter.mul_(2.5 / parameter.norm(dim=1, keepdim=True))
                elif isinstance(module, torch.nn.Embedding):
                    noise(parameter, 7.5 / math.sqrt(parameter.shape[1]))
                else:
                    inputs = 0 if isinstance(module, Conv1D) else parameter.dim() - 1
                    noise(parameter, gain * 1.2 / math.sqrt(parameter.shape[inputs]))
                    if parameter.shape[inputs] > 2:
                        parameter.sub_(parameter.mean(inputs, keepdim=True))


def save(tensors: dict[str, torch.Tensor], path: Path, **more: Any) -> None:
    """Writes a safetensors file that others may read."""
    save_file(tensors, path, **more)
    path.chmod(0o644)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def as_saved(model: Any) -> dict[str, torch.Tensor]:
    """The parameters as `save_pretrained` names and cuts them: heads renamed, experts apart, a tied head left out."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(Path(folder) / "model.safetensors")


def gradients_as_saved(model: Any) -> dict[str, torch.Tensor]:
    """The gradients, named and cut as the parameters are in files."""
    holder = copy.deepcopy(model)
    holder.__dict__.pop("forward", None)
    with torch.no_grad():
        for parameter, source in zip(holder.parameters(), model.parameters()):
            parameter.copy_(torch.zeros_like(source) if source.grad is None else source.grad)
    order = {name: place for place, (name, _) in enumerate(model.named_parameters())}
    return dict(sorted(as_saved(holder).items(), key=lambda item: order.get(item[0], len(order))))


def write_weights(folder: Path, recipe: Recipe, model: torch.nn.Module) -> None:
    """Stores the state as the recipe asks: type, names, buffers, shards."""
    family, storage = FAMILIES[recipe.family], recipe.storage
    dtype = getattr(torch, storage.dtype)
    state = {name: value.to(dtype).contiguous().clone() for name, value in as_saved(model).items()}
    if storage.repeat_head and family.head not in state:
        state[family.head] = model.get_output_embeddings().weight.detach().to(dtype).clone()
    if storage.buffers and family.legacy_buffers:
        state |= family.legacy_buffers(model.config, storage.buffers)
    if not storage.prefix:
        state = {name.removeprefix(family.prefix): value for name, value in state.items()}
    names = sorted(state)
    if storage.shards == 1:
        save({n: state[n] for n in names}, folder / "model.safetensors", metadata={"format": "pt"})
        return
    shards, total = storage.shards, 0
    weight_map: dict[str, str] = {}
    for k in range(shards):
        part = names[k::shards]
        file = f"model-{k + 1:05d}-of-{shards:05d}.safetensors"
        save({n: state[n] for n in part}, folder / file, metadata={"format": "pt"})
        weight_map |= {n: file for n in part}
        total += sum(state[n].nbytes for n in part)
    write_json(folder / "model.safetensors.index.json",
               {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))})  # fmt: skip


def write_configs(folder: Path, recipe: Recipe, config: Any, eos: list[int], pad: int | None) -> None:
    """Writes config.json and, unless the recipe has none, generation_config.json."""
    eos_field: Any = None if not eos else eos[0] if len(eos) == 1 else eos
    config.bos_token_id = eos[0] if eos else None
    config.eos_token_id, config.pad_token_id = eos_field, pad
    config.architectures = [AutoModelForCausalLM._model_mapping[type(config)].__name__]
    fields = json.loads(config.to_json_string(use_diff=not recipe.storage.full_config))
    fields = {k: v for k, v in fields.items() if not k.startswith("_")}
    fields["eos_token_id"], fields["dtype"] = eos_field, recipe.storage.dtype
    if recipe.family != "gpt2":  # most families' own special tokens lie beyond a tiny vocabulary
        fields |= {"bos_token_id": config.bos_token_id, "pad_token_id": pad}
        fields |= {k: recipe.config[k] for k in recipe.config if k.startswith("_")}
        if not recipe.storage.full_config:
            defaults = type(config)()
            given = {k for k, v in recipe.config.items() if not hasattr(defaults, k) or getattr(defaults, k) != v}
            given |= {config.attribute_map.get(k, k) for k in given}  # the name in files
            kept = given | {"architectures", "bos_token_id", "dtype", "eos_token_id", "model_type", "pad_token_id",
                            "rope_parameters", "transformers_version"}  # fmt: skip
            fields = without_defaults(recipe.family, {k: v for k, v in fields.items() if k in kept})
    if recipe.storage.old_spelling:
        fields = old_spelling(recipe.family, fields, recipe.storage.full_config)
    write_json(folder / "config.json", dict(sorted((fields | recipe.legacy_config).items())))
    if recipe.generation is None:
        return
    settings = {"transformers_version": transformers.__version__} | recipe.generation
    if recipe.generation_ids:
        settings |= {k: v for k, v in (("bos_token_id", config.bos_token_id), ("eos_token_id", eos_field),
                                       ("pad_token_id", pad)) if v is not None}  # fmt: skip
    write_json(folder / "generation_config.json", dict(sorted(settings.items())))


class KeepDouble(TorchFunctionMode):
    """Float64 stays float64 where a model asks for float32."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if args and isinstance(args[0], torch.Tensor) and args[0].dtype == torch.float64:
            if func is torch.Tensor.float:
                return args[0]
            args = (args[0], *(torch.float64 if a is torch.float32 else a for a in args[1:]))
            kwargs = {k: torch.float64 if v is torch.float32 else v for k, v in kwargs.items()}
        return func(*args, **kwargs)


#: The smallest distance, since it was last set to infinity, between an expert that was chosen and one that was not.
routing = {"margin": math.inf}


def watch_routing(model: Any) -> None:
    def note(module: Any, _inputs: Any, output: Any) -> None:
        logits = output[0].detach().sort(dim=-1, descending=True).values
        if module.top_k < logits.shape[-1]:
            gap = float((logits[:, module.top_k - 1] - logits[:, module.top_k]).min())
            routing["margin"] = min(routing["margin"], gap)

    for module in model.modules():
        if type(module).__name__.endswith("TopKRouter"):
            module.register_forward_hook(note)


def forget_lengths(model: Any) -> None:
    """Dynamic rotary frequencies remember the longest sequence that a model object has seen: each case starts anew."""
    for module in model.modules():
        if getattr(module, "rope_type", None) == "dynamic":
            module.inv_freq = module.original_inv_freq.clone()
            module.max_seq_len_cached = module.original_max_seq_len


def load(folder: Path) -> tuple[Any, Any]:
    """The model of a folder in float32, and the same weights in float64."""
    family = FAMILIES[json.loads((folder / "config.json").read_text())["model_type"]]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True,
                                                 attn_implementation=family.attention,
                                                 experts_implementation="eager").eval()  # fmt: skip
    model64 = copy.deepcopy(model).double()
    forward = model64.forward

    @functools.wraps(forward)
    def kept(*args: Any, **kwargs: Any) -> Any:
        with KeepDouble():
            return forward(*args, **kwargs)

    model64.forward = kept
    watch_routing(model)
    return model, model64


def logits_of(model: Any, ids: list[int]) -> torch.Tensor:
    forget_lengths(model)
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


def choose_end_tokens(model: Any, recipe: Recipe, rng: random.Random) -> list[int]:
    """Tokens that greedy continuations reach, but rarely in the first steps: generation really ends by them, later."""
    counts: Counter[int] = Counter()
    vocab, context = model.config.vocab_size, recipe.context
    for _ in range(12):
        prompt = random_ids(rng, vocab, min(4, context // 3))
        run = generate(model, prompt, {"do_sample": False, "num_beams": 1, "max_new_tokens": min(10, context - 5),
                                       "eos_token_id": None}).sequences[0, len(prompt):].tolist()  # fmt: skip
        first = {token: run.index(token) for token in run}
        for token, step in first.items():
            counts[token] += 1 if step >= 3 else -2
    ranked = [token for token, _ in counts.most_common()] + rng.sample(range(vocab), vocab)
    return list(dict.fromkeys(ranked))[: recipe.eos]


def build(recipe: Recipe, folder: Path) -> "Cases":
    """Makes the folder anew: weights, configs, reference."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "reference").mkdir(parents=True)
    rng = random.Random(f"{recipe.family}/{recipe.name}/{recipe.seed}")
    tokens = {} if recipe.family == "gpt2" else {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    config = AutoConfig.for_model(FAMILIES[recipe.family].model_type, **copy.deepcopy(recipe.config), **tokens)
    model = AutoModelForCausalLM.from_config(config)
    random_weights(model, recipe.seed, recipe.gain)
    write_weights(folder, recipe, model)
    write_configs(folder, recipe, config, [], None)
    if recipe.generation is not None:
        write_json(folder / "generation_config.json", {})
    eos = choose_end_tokens(load(folder)[0], recipe, rng) if recipe.eos else []
    others = [t for t in range(1, config.vocab_size) if t not in eos]
    pad = {"absent": None, "zero": 0, "distinct": rng.choice(others or [1]), "eos": eos[0] if eos else None}[recipe.pad]
    write_configs(folder, recipe, config, eos, pad)

    loaded = load(folder)
    for name, value in loaded[0].state_dict().items():  # what was drawn must be what transformers reads
        if not torch.equal(value, model.state_dict()[name].to(getattr(torch, recipe.storage.dtype)).float()):
            raise SystemExit(f"{folder.name}: transformers does not read {name} as it was written")
    cases = Cases(recipe, folder, *loaded, rng)
    cases.collect()
    cases.write()
    return cases


# ---------------------------------------------------------------------------------------------------------------------
# Running transformers
# ---------------------------------------------------------------------------------------------------------------------


class Undecided(Exception):
    """A decision hung on rounding, or on an order that transformers leaves open."""


class Unsteady(Exception):
    """Float32 strays too far from float64 on this model for its numbers to judge another engine."""


class OneStep(StoppingCriteria):
    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.ones(input_ids.shape[0], dtype=torch.bool)


def random_ids(rng: random.Random, vocab: int, length: int) -> list[int]:
    """A random prompt; half of them repeat a piece, so that rules about repetition have something to do."""
    ids = [rng.randrange(vocab) for _ in range(length)]
    if length >= 4 and rng.random() < 0.5:
        half = length // 2
        ids[half : 2 * half] = ids[:half]
    return ids


def generate(model: Any, prompt: list[int], settings: dict[str, Any], **more: Any) -> Any:
    """`generate` on one prompt, with the settings as keyword arguments and every prompt token attended to."""
    ids = torch.tensor([prompt])
    torch.manual_seed(0)
    forget_lengths(model)
    with torch.no_grad():
        return model.generate(ids, attention_mask=torch.ones_like(ids), return_dict_in_generate=True, output_scores=True,
                              **settings, **more)  # fmt: skip


def effective(model: Any, settings: dict[str, Any], key: str, default: Any = None) -> Any:
    """A setting as generate() sees it: the case, then the model's generation_config.json, then the default."""
    value = settings.get(key)
    value = getattr(model.generation_config, key, None) if key not in settings else value
    return default if value is None else value


def end_tokens(model: Any, settings: dict[str, Any]) -> list[int]:
    eos = effective(model, settings, "eos_token_id", [])
    return eos if isinstance(eos, list) else [eos]


@contextlib.contextmanager
def watched_beams(model: Any, ends: list[int], log: dict[str, Any]):
    """Records the smallest margin of every decision of a beam search, and what happened to end tokens."""
    originals = {name: getattr(model, name) for name in
                 ("_get_top_k_continuations", "_get_running_beams_for_next_iteration", "_update_finished_beams",
                  "_check_early_stop_heuristic")}  # fmt: skip
    log |= {"margin": math.inf, "undefined": False, "lost_ends": 0, "ends": 0, "finished_early": 0, "replaced": 0}

    def gaps(values: torch.Tensor) -> None:
        values = values[values > PLACEHOLDER].sort(descending=True).values
        if len(values) > 1:
            log["margin"] = min(log["margin"], float((values[:-1] - values[1:]).min()))

    def top_k(**kw: Any) -> Any:
        scores, keep, beams = kw["accumulated_log_probs"][0], kw["beams_to_keep"], kw["num_beams"]
        values, indices = torch.topk(scores, min(keep + 1, len(scores)))
        gaps(values)
        if bool(values[beams - 1] <= PLACEHOLDER):
            # Defined all the same when every beam was forced to one token: the spare beams are copies of the first.
            forced = bool(values[beams - 1] > -math.inf) and len((indices[:beams] % (len(scores) // beams)).unique()) == 1
            log["undefined"] |= not forced
        is_end = torch.isin(indices[:keep] % (len(scores) // beams), torch.tensor(ends, dtype=torch.long))
        is_end &= values[:keep] > PLACEHOLDER
        log["ends"] += int(is_end.sum())
        log["lost_ends"] += int(is_end[beams:].sum())
        return originals["_get_top_k_continuations"](**kw)

    def running(**kw: Any) -> Any:
        result = originals["_get_running_beams_for_next_iteration"](**kw)
        if not bool(kw["next_token_hits_stopping_criteria"].all()):
            copies = bool((result[0][0] == result[0][0, 0]).all())
            log["undefined"] |= bool((result[1] <= PLACEHOLDER).any()) and not copies
        return result

    def finished(**kw: Any) -> Any:
        legal = kw["next_token_hits_stopping_criteria"][0] & kw["top_num_beam_mask"]
        full = bool(kw["is_sent_finished"].all()) and kw["early_stopping"] is True
        if full or not bool(kw["is_early_stop_heuristic_unsatisfied"].all()):
            legal = torch.zeros_like(legal)
        length = (kw["cur_len"] + 1 - kw["decoder_prompt_len"]) ** kw["length_penalty"]
        pool = torch.cat((kw["beam_scores"][0], kw["topk_log_probs"][0][legal] / length))
        gaps(pool.sort(descending=True).values[: kw["num_beams"] + 1])
        done = kw["is_sent_finished"][0]
        result = originals["_update_finished_beams"](**kw)
        if bool(done.all()) and not torch.equal(result[1], kw["beam_scores"]):
            log["replaced"] += 1
        log["undefined"] |= bool((result[1][0][result[3][0]] <= PLACEHOLDER).any())
        log["finished_early"] += int(legal.sum()) if not bool(kw["next_token_hits_stopping_criteria"].all()) else 0
        return result

    def heuristic(**kw: Any) -> Any:
        result = originals["_check_early_stop_heuristic"](**kw)
        if bool(kw["is_sent_finished"].all()):
            never = kw["early_stopping"] == "never" and kw["length_penalty"] > 0
            length = (kw["max_length"] if never else kw["cur_len"]) - kw["decoder_prompt_len"]
            best = float(kw["running_beam_scores"][0, 0] / length ** kw["length_penalty"])
            if best > PLACEHOLDER:
                log["margin"] = min(log["margin"], abs(best - float(kw["beam_scores"].min())))
        return result

    replacements = {"_get_top_k_continuations": top_k, "_get_running_beams_for_next_iteration": running,
                    "_update_finished_beams": finished, "_check_early_stop_heuristic": heuristic}  # fmt: skip
    for name, function in replacements.items():
        setattr(model, name, function)
    try:
        yield
    finally:
        for name in replacements:
            delattr(model, name)


@contextlib.contextmanager
def moved_logits(model: Any, seed: int):
    """Moves every logit by the tolerance that engines are allowed, up or down at random."""
    generator = torch.Generator().manual_seed(seed)

    def move(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        signs = torch.randint(0, 2, output.shape, generator=generator) * 2 - 1
        return output + signs * (LOGITS_TOLERANCE + LOGITS_TOLERANCE * output.abs())

    handle = model.get_output_embeddings().register_forward_hook(move)
    try:
        yield
    finally:
        handle.remove()


def decode(model: Any, model64: Any, prompt: list[int], settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Greedy or beam search, checked for decisions that hang on rounding: (fields of the case, what happened)."""
    log: dict[str, Any] = {}
    routing["margin"] = math.inf
    beams = effective(model, settings, "num_beams", 1)
    if beams > 1:
        with watched_beams(model, end_tokens(model, settings), log):
            run = generate(model, prompt, settings)
        if log["undefined"] or log["margin"] < MARGIN:
            raise Undecided
    else:
        run = generate(model, prompt, settings)
        for scores in run.scores:
            best = torch.topk(scores[0], min(2, scores.shape[-1])).values
            if not bool(best[0] > PLACEHOLDER) or (len(best) > 1 and float(best[0] - best[1]) < MARGIN):
                raise Undecided
    if routing["margin"] < ROUTING_MARGIN:
        raise Undecided
    again = generate(model64, prompt, settings)
    if run.sequences.tolist() != again.sequences.tolist():
        raise Undecided
    fields: dict[str, Any] = {"output_ids": run.sequences.tolist()}
    if beams > 1:
        finite = bool((run.sequences_scores.abs() < -PLACEHOLDER).all())
        if not finite or float((run.sequences_scores - again.sequences_scores).abs().max()) > SCORE_AGREEMENT:
            raise Undecided
        fields["sequences_scores"] = run.sequences_scores.tolist()
    return fields, log


def next_scores(model: Any, prompt: list[int], settings: dict[str, Any]) -> torch.Tensor:
    """The scores of the next token after all processors."""
    return generate(model, prompt, settings, stopping_criteria=StoppingCriteriaList([OneStep()])).scores[0][0]


def loss_and_gradients(model: Any, batch: list[list[int]]) -> tuple[float, dict[str, torch.Tensor]]:
    """Mean cross-entropy of the batch's own tokens, and its gradient by the name that files give the parameter."""
    model.zero_grad(set_to_none=True)
    forget_lengths(model)
    ids = torch.tensor(batch)
    logits = model(ids, use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    return loss.item(), gradients_as_saved(model)


# ---------------------------------------------------------------------------------------------------------------------
# Cases
# ---------------------------------------------------------------------------------------------------------------------


class Cases:
    """Collects the cases of one model and writes its reference."""

    def __init__(self, recipe: Recipe, folder: Path, model: Any, model64: Any, rng: random.Random):
        self.recipe, self.folder, self.model, self.model64, self.rng = recipe, folder, model, model64, rng
        self.vocab, self.context, self.reach = model.config.vocab_size, recipe.context, recipe.reach
        self.cases: list[dict[str, Any]] = []
        self.tensors: dict[str, torch.Tensor] = {}
        self.counts: Counter[str] = Counter()
        self.dropped: list[str] = []

    # -- numbers

    def prompt(self, draw: Callable[[], Any], run: Callable[[Any], Any]) -> tuple[Any, Any]:
        """Draws until no choice of experts hangs on rounding: (what was drawn, what came of it)."""
        for _ in range(20):
            routing["margin"] = math.inf
            drawn = draw()
            result = run(drawn)
            if routing["margin"] >= ROUTING_MARGIN:
                return drawn, result
        raise Unsteady("no prompt routes clearly")

    def prefill(self) -> None:
        lengths = {"full": [1, 2, 7, self.context, min(self.context, 16)], "brief": [1, 2, 7, self.context, self.reach],
                   "small": [1, 5, self.reach]}[self.recipe.profile]  # fmt: skip
        for length in dict.fromkeys(lengths):
            name = f"prefill-{length}"
            ids, logits = self.prompt(lambda: [self.rng.randrange(self.vocab) for _ in range(length)],
                                      lambda ids: logits_of(self.model, ids))  # fmt: skip
            exact = logits_of(self.model64, ids)
            share = float(((logits - exact).abs() / (LOGITS_TOLERANCE * (1 + exact.abs()))).max())
            if share > 0.3:
                raise Unsteady(f"float32 logits use {share:.0%} of the tolerance")
            self.counts["worst logits error, percent of tolerance"] = max(
                self.counts["worst logits error, percent of tolerance"], math.ceil(100 * share))  # fmt: skip
            logprobs = torch.log_softmax(logits.double(), -1)
            self.tensors[f"{name}.logits"] = logits.contiguous().clone()
            self.cases.append({"name": name, "input_ids": ids, "logits": f"{name}.logits",
                               "token_logprobs": [None] + [logprobs[t, i].item() for t, i in enumerate(ids[1:])]})  # fmt: skip

    def layers(self) -> None:
        def run(ids: list[int]) -> Any:
            forget_lengths(self.model)
            with torch.no_grad():
                return self.model(torch.tensor([ids]), output_hidden_states=True).hidden_states

        length = 5 if self.recipe.profile == "small" else 9
        ids, states = self.prompt(lambda: random_ids(self.rng, self.vocab, min(length, self.context)), run)
        names = [f"layers.hidden.{k}" for k in range(len(states))]
        self.tensors |= {n: s[0].contiguous().clone() for n, s in zip(names, states)}
        self.cases.append({"name": "layers", "input_ids": ids, "hidden_states": names})

    def loss(self, name: str, rows: int, length: int) -> None:
        pad = None if self.recipe.family == "gpt2" else self.model.config.pad_token_id

        def draw() -> list[list[int]]:
            batch = [random_ids(self.rng, self.vocab, length) for _ in range(rows)]
            # torch.nn.Embedding gives the padding token no gradient; no row holds it.
            return [[(t + 1) % self.vocab if t == pad else t for t in row] for row in batch]

        batch, (quick, quick_gradients) = self.prompt(draw, lambda batch: loss_and_gradients(self.model, batch))
        case: dict[str, Any] = {"name": name, "input_ids_batch": batch}
        case["loss"], gradients = loss_and_gradients(self.model64, batch)
        if abs(quick - case["loss"]) > LOSS_TOLERANCE * abs(case["loss"]):
            raise Unsteady(f"float32 loss {quick} is far from float64's {case['loss']}")
        if self.recipe.gradients and name == "loss":
            prefix, stored = FAMILIES[self.recipe.family].prefix, {}
            for parameter, value in gradients.items():
                error = float((quick_gradients[parameter] - value).abs().max())
                if error > 1e-6 + 2e-4 * float(value.abs().max()):
                    raise Unsteady(f"float32 gradient of {parameter} is off by {error}")
                stored[parameter if self.recipe.storage.prefix else parameter.removeprefix(prefix)] = value.float()
            case["gradients"] = {n: f"{name}.grad.{n}" for n in stored}
            self.tensors |= {f"{name}.grad.{n}": value.contiguous() for n, value in stored.items()}
        self.cases.append(case)

    # -- processors of one step

    def scores(self, name: str, make: Callable[["Draft"], dict[str, Any]], length: int = 5) -> None:
        for _ in range(ATTEMPTS):
            draft = Draft(self, length)
            settings = {"do_sample": True} | make(draft)
            if effective(self.model, {}, "num_beams", 1) > 1:
                settings["num_beams"] = 1
            routing["margin"] = math.inf
            scores = next_scores(self.model, draft.prompt, settings)
            if routing["margin"] < ROUTING_MARGIN:
                continue
            others = [next_scores(self.model64, draft.prompt, settings)]
            for seed in range(3):
                with moved_logits(self.model, seed):
                    others.append(next_scores(self.model, draft.prompt, settings))
            if all(torch.equal(scores > PLACEHOLDER, o > PLACEHOLDER) for o in others):
                self.tensors[f"{name}.processed"] = scores.clone()
                self.cases.append({"name": name, "input_ids": draft.prompt, "generation_config": settings,
                                   "processed_scores": f"{name}.processed"})  # fmt: skip
                self.counts["scores"] += 1
                self.counts["scores that drop tokens"] += bool((scores <= PLACEHOLDER).any())
                return
        self.dropped.append(name)

    # -- decoding

    def decoding(self, name: str, make: Callable[["Draft"], dict[str, Any]], length: int = 5, ends: int = 0) -> None:
        """One search. `ends`: how many end tokens to choose from what the search produces without any."""
        for _ in range(ATTEMPTS):
            draft = Draft(self, length)
            settings = {"do_sample": False} | make(draft)
            # transformers fails when the model's own settings lead beyond the context or stop within the prompt,
            # and when a beam search asks for more candidates than exist.
            if not draft.length < draft.limit(settings) <= self.reach:
                settings["max_new_tokens"] = draft.new(6)
            beams = effective(self.model, settings, "num_beams", 1)
            try:
                if ends:
                    settings["eos_token_id"] = draft.reachable_ends(settings, ends)
                if max(2, 1 + len(end_tokens(self.model, settings))) > self.vocab and beams > 1:
                    continue
                fields, log = decode(self.model, self.model64, draft.prompt, settings)
            except (Undecided, ValueError):  # ValueError: transformers refuses the settings
                continue
            self.cases.append({"name": name, "input_ids": draft.prompt, "generation_config": settings} | fields)
            self.count(draft, settings, fields["output_ids"], log, beams)
            return
        self.dropped.append(name)

    def count(self, draft: "Draft", settings: dict[str, Any], rows: list[list[int]], log: dict[str, Any], beams: int) -> None:
        ends, kind = end_tokens(self.model, settings), "beams" if beams > 1 else "greedy"
        cuts = [next((i for i, t in enumerate(r) if i >= len(draft.prompt) and t in ends), None) for r in rows]
        limit = max(map(len, rows))
        self.counts[kind] += 1
        self.counts[f"{kind}: a row ended by an end token"] += any(c is not None for c in cuts)
        if beams > 1:
            self.counts["beams: hypotheses finished before the last step"] += log["finished_early"] > 0
            self.counts["beams: end token lost below the cut"] += log["lost_ends"] > 0
            self.counts["beams: finished hypothesis replaced by a better one"] += log["replaced"] > 0
            self.counts["beams: returned rows of different lengths"] += len({limit if c is None else c for c in cuts}) > 1
            self.counts["beams: several rows returned"] += len(rows) > 1
            self.counts["beams: best row shorter than the allowed length"] += cuts[0] is not None and draft.room > 0 and (
                len(rows[0]) < draft.limit(settings))  # fmt: skip

    def collect(self) -> None:
        self.prefill()
        self.layers()
        self.loss("loss", rows=2, length=min(5 if self.recipe.profile == "small" else 9, self.context))
        if self.recipe.profile == "full":
            self.loss("loss-long-row", rows=1, length=self.context)
            self.loss("loss-shortest", rows=3, length=2)
        plan(self)

    def write(self) -> None:
        for case in self.cases:  # every name once
            if [c["name"] for c in self.cases].count(case["name"]) > 1:
                raise SystemExit(f"{self.folder.name}: two cases are named {case['name']}")
        reference = {"generator": {"transformers": transformers.__version__, "torch": torch.__version__,
                                   "safetensors": safetensors.__version__, "python": platform.python_version()},
                     "seed": self.recipe.seed, "cases": self.cases}  # fmt: skip
        jsonschema.validate(reference, json.loads(SCHEMA.read_text()))
        lines = ",\n".join("  " + json.dumps(c, separators=(", ", ": "), allow_nan=False) for c in self.cases)
        head = json.dumps({"generator": reference["generator"], "seed": self.recipe.seed})[:-1]
        (self.folder / "reference/reference.json").write_text(f'{head},\n "cases": [\n{lines}\n ]}}\n')
        save(dict(sorted(self.tensors.items())), self.folder / "reference/reference.safetensors")
        missing = named_tensors(reference) ^ set(self.tensors)
        if missing:
            raise SystemExit(f"{self.folder.name}: reference.json and reference.safetensors disagree on {missing}")


def named_tensors(reference: dict[str, Any]) -> set[str]:
    names: set[str] = set()
    for case in reference["cases"]:
        names |= {case[k] for k in ("logits", "processed_scores") if k in case}
        names |= set(case.get("hidden_states", [])) | set(case.get("gradients", {}).values())
    return names


class Draft:
    """A prompt, and what the model makes of it unguided: material for settings that bite."""

    def __init__(self, cases: Cases, length: int):
        self.cases, self.rng, self.vocab = cases, cases.rng, cases.vocab
        self.context, self.reach = cases.context, cases.reach
        self.prompt = random_ids(self.rng, self.vocab, min(length, self.context - 6))
        self.length = len(self.prompt)
        self.room = self.context - self.length
        self._free: list[int] | None = None

    @property
    def free(self) -> list[int]:
        """Unguided greedy continuation, at least five tokens, never ended."""
        if self._free is None:
            model = self.cases.model
            plain = copy.copy(model.generation_config)
            try:
                model.generation_config = transformers.GenerationConfig()
                run = generate(model, self.prompt, {"do_sample": False, "max_new_tokens": min(12, self.room)})
            finally:
                model.generation_config = plain
            self._free = run.sequences[0, self.length :].tolist()
        return self._free

    def limit(self, settings: dict[str, Any]) -> int:
        new = effective(self.cases.model, settings, "max_new_tokens")
        total = effective(self.cases.model, settings, "max_length")
        # Without either, transformers adds 20 tokens, up to max_position_embeddings: which may be less than the model can
        # do, or not be there. Such cases are given a length.
        bounded = self.reach == self.context and hasattr(self.cases.model.config, "max_position_embeddings")
        default = min(self.length + 20, self.context) if bounded else self.reach + 1
        return self.length + new if new else total or default

    def new(self, wanted: int) -> int:
        """A number of new tokens that fits."""
        return max(1, min(wanted, self.room))

    def total(self, wanted: int) -> int:
        """A total length that fits."""
        return self.length + self.new(wanted)

    def tokens(self, count: int) -> list[int]:
        return [self.rng.randrange(self.vocab) for _ in range(count)]

    def bad_words(self) -> list[list[int]]:
        """Single tokens and pieces of what the model would say, so that each takes effect at some step."""
        free = self.free
        words = [[free[-1]], free[1:3], [self.prompt[-1], free[0]], free[2:5], self.tokens(1), self.tokens(3)]
        words += [[e] for e in end_tokens(self.cases.model, {})[:1]]  # a word that is an end token is ignored
        return [w for w in words if w]

    def biases(self) -> list[list[Any]]:
        free = self.free
        pairs = [[[free[0]], -2.5], [[free[1], self.rng.randrange(self.vocab)], 4.0], [[self.prompt[-1], free[0]], 1.75],
                 [self.tokens(1), 3.5], [free[1:3] + self.tokens(1), 6.0]]  # fmt: skip
        return list({tuple(p[0]): p for p in pairs}.values())

    def reachable_ends(self, settings: dict[str, Any], count: int) -> int | list[int]:
        """End tokens out of what the search produces without any; later ones of its rows first."""
        without = {k: v for k, v in settings.items() if k != "exponential_decay_length_penalty"} | {"eos_token_id": None}
        rows = generate(self.cases.model, self.prompt, without).sequences[:, self.length :].tolist()
        late = [t for r in reversed(rows) for t in r[2:]]
        early = [t for r in rows for t in r[:2]] + self.tokens(4 * count)
        self.rng.shuffle(late)
        ends = list(dict.fromkeys(late + early))[:count]
        return ends[0] if count == 1 else ends


def plan(cases: Cases) -> None:
    """The decoding cases: which settings, which prompts, which end tokens."""
    rng, full = cases.rng, cases.recipe.profile == "full"
    own = cases.model.generation_config
    greedy_base = {"num_beams": 1} if (own.num_beams or 1) > 1 else {}

    def greedy(name: str, make: Callable[[Draft], dict[str, Any]], length: int = 5, ends: int = 0) -> None:
        cases.decoding(f"greedy-{name}", lambda d: greedy_base | make(d), length, ends)

    def beams(name: str, make: Callable[[Draft], dict[str, Any]], length: int = 4, ends: int = 0) -> None:
        cases.decoding(f"beams-{name}", make, length, ends)

    def scores(name: str, settings: dict[str, Any] | Callable[[Draft], dict[str, Any]], length: int = 5) -> None:
        cases.scores(f"scores-{name}", settings if callable(settings) else (lambda d: settings), length)

    if cases.recipe.profile == "small":
        greedy("ngram-2", lambda d: {"max_new_tokens": d.new(12), "no_repeat_ngram_size": 2}, length=3, ends=1)
        greedy("to-the-end", lambda d: {"max_length": d.reach}, length=cases.context - 7)
        beams("3", lambda d: {"num_beams": 3, "max_length": d.total(12), "no_repeat_ngram_size": 2,
                              "early_stopping": True, "num_return_sequences": 3}, ends=1)  # fmt: skip
        scores("temperature-top-k", {"temperature": 0.7, "top_k": 5})
        return

    # The model's own settings, then lengths.
    greedy("own-settings", lambda d: {})
    if (own.num_beams or 1) > 1:
        beams("own-settings", lambda d: {})
        beams("own-length-given", lambda d: {"max_length": d.total(9)})
    greedy("new-tokens", lambda d: {"max_new_tokens": d.new(12)}, length=3)
    greedy("total-length", lambda d: {"max_length": d.total(9)}, length=7)
    greedy("ended", lambda d: {"max_new_tokens": d.new(12)}, ends=1)
    greedy("repetition", lambda d: {"max_new_tokens": d.new(12), "repetition_penalty": 1.3}, length=6)
    greedy("ngram-2", lambda d: {"max_new_tokens": d.new(12), "no_repeat_ngram_size": 2}, length=6)
    beams("2", lambda d: {"num_beams": 2, "max_new_tokens": d.new(7)})
    if cases.vocab > 8:
        beams("3-ended", lambda d: {"num_beams": 3, "max_new_tokens": d.new(9), "num_return_sequences": 3}, ends=1)
        beams("5-early", lambda d: {"num_beams": 5, "max_length": d.total(12), "no_repeat_ngram_size": 2,
                                    "early_stopping": True}, ends=1)  # fmt: skip
    scores("temperature-top-k", {"temperature": 0.7, "top_k": 5})
    scores("top-p", {"top_k": 0, "top_p": 0.8})
    scores("defaults", {})
    if cases.recipe.profile == "brief" and cases.recipe.family != "gpt2":
        greedy("to-the-end", lambda d: {"max_length": d.reach}, length=cases.context - 7)
    if not full:
        return

    # Greedy, each processor alone and in company.
    greedy("to-the-context", lambda d: {"max_length": d.context}, length=max(1, cases.context - 9))
    greedy("one-token-prompt", lambda d: {"max_new_tokens": d.new(8)}, length=1)
    greedy("one-new-token", lambda d: {"max_new_tokens": 1})
    greedy("both-lengths", lambda d: {"max_new_tokens": d.new(6), "max_length": d.total(10)})
    greedy("three-ends", lambda d: {"max_new_tokens": d.new(12)}, ends=3)
    greedy("repetition-below-one", lambda d: {"max_new_tokens": d.new(8), "repetition_penalty": 0.7})
    greedy("ngram-1", lambda d: {"max_new_tokens": d.new(min(8, d.vocab // 2)), "no_repeat_ngram_size": 1}, length=3)
    greedy("ngram-3", lambda d: {"max_new_tokens": d.new(14), "no_repeat_ngram_size": 3}, length=8)
    greedy("ngram-beyond-prompt", lambda d: {"max_new_tokens": d.new(9), "no_repeat_ngram_size": 4}, length=2)
    greedy("min-length", lambda d: {"max_new_tokens": d.new(12), "min_length": d.total(6)}, ends=1)
    greedy("min-new-tokens", lambda d: {"max_new_tokens": d.new(12), "min_new_tokens": d.new(5)}, ends=2)
    greedy("min-both", lambda d: {"max_length": d.total(12), "min_new_tokens": d.new(4), "min_length": d.total(8)}, ends=1)
    greedy("bad-words", lambda d: {"max_new_tokens": d.new(10), "bad_words_ids": d.bad_words()})
    greedy("suppress", lambda d: {"max_new_tokens": d.new(10), "suppress_tokens": sorted({d.free[0], d.free[3], d.free[-1]})})
    greedy("begin-suppress", lambda d: {"max_new_tokens": d.new(8), "begin_suppress_tokens": [d.free[0], d.free[1]]})
    greedy("forced-first", lambda d: {"max_new_tokens": d.new(6), "forced_bos_token_id": d.tokens(1)[0]}, length=1)
    greedy("forced-first-longer-prompt", lambda d: {"max_new_tokens": d.new(5), "forced_bos_token_id": d.tokens(1)[0]}, length=3)
    greedy("forced-first-begin-suppress", lambda d: {"max_new_tokens": d.new(6), "forced_bos_token_id": d.tokens(1)[0],
                                                     "begin_suppress_tokens": [d.free[0], d.free[1]]}, length=1)  # fmt: skip
    greedy("forced-last", lambda d: {"max_new_tokens": d.new(6), "forced_eos_token_id": d.tokens(1)[0]})
    greedy("decay", lambda d: {"max_new_tokens": d.new(16), "exponential_decay_length_penalty": [3, 1.6]}, length=4, ends=1)
    greedy("decay-list", lambda d: {"max_new_tokens": d.new(16), "exponential_decay_length_penalty": [0, 1.3]}, ends=2)
    greedy("sequence-bias", lambda d: {"max_new_tokens": d.new(10), "sequence_bias": d.biases()})
    greedy("remove-invalid", lambda d: {"max_new_tokens": d.new(8), "remove_invalid_values": True,
                                        "suppress_tokens": [d.free[0]]})  # fmt: skip
    greedy("renormalise", lambda d: {"max_new_tokens": d.new(8), "renormalize_logits": True, "repetition_penalty": 1.1})
    greedy("together", lambda d: {"max_new_tokens": d.new(14), "repetition_penalty": 1.15, "no_repeat_ngram_size": 3,
                                  "bad_words_ids": d.bad_words(), "min_new_tokens": d.new(4), "sequence_bias": d.biases(),
                                  "begin_suppress_tokens": [d.free[0]], "exponential_decay_length_penalty": [5, 1.2]},
           ends=2)  # fmt: skip

    # Beams: each setting by name, then random company.
    def nb(d: Draft, wanted: int, **more: Any) -> dict[str, Any]:
        return {"max_new_tokens": d.new(wanted), **more}

    beams("defaults-never-ended", lambda d: nb(d, 8, num_beams=4, num_return_sequences=4))
    beams("reference-call", lambda d: {"max_length": d.total(20), "num_beams": 5, "no_repeat_ngram_size": 2,
                                       "early_stopping": True}, length=5)  # fmt: skip
    for stop in (False, True, "never"):
        for penalty in (-1.0, 0.0, 2.0):
            beams(f"stop-{str(stop).lower()}-penalty-{penalty:g}",
                  lambda d: nb(d, 10, num_beams=3, early_stopping=stop, length_penalty=penalty, num_return_sequences=3),
                  ends=1)  # fmt: skip
    beams("two-ends", lambda d: nb(d, 10, num_beams=4, num_return_sequences=4), ends=2)
    beams("three-ends-never", lambda d: nb(d, 12, num_beams=3, early_stopping="never", num_return_sequences=2), ends=3)
    beams("min-new-tokens", lambda d: nb(d, 10, num_beams=3, min_new_tokens=d.new(4), num_return_sequences=3), ends=2)
    beams("repetition", lambda d: nb(d, 8, num_beams=3, repetition_penalty=1.4, num_return_sequences=2))
    beams("bad-words", lambda d: nb(d, 8, num_beams=3, bad_words_ids=d.bad_words()), ends=1)
    beams("sequence-bias", lambda d: nb(d, 8, num_beams=4, sequence_bias=d.biases(), num_return_sequences=2), ends=1)
    beams("suppress", lambda d: nb(d, 7, num_beams=2, suppress_tokens=[d.free[0]], begin_suppress_tokens=[d.free[1]]))
    beams("forced-first", lambda d: nb(d, 5, num_beams=2, forced_bos_token_id=d.tokens(1)[0], length_penalty=0.5), length=1)
    beams("forced-last", lambda d: nb(d, 7, num_beams=3, forced_eos_token_id=d.tokens(1)[0], num_return_sequences=3))
    beams("decay", lambda d: nb(d, 12, num_beams=3, exponential_decay_length_penalty=[2, 1.4], num_return_sequences=2), ends=1)
    beams("renormalise", lambda d: nb(d, 8, num_beams=3, renormalize_logits=True, repetition_penalty=1.2,
                                      suppress_tokens=[d.free[0]]), ends=1)  # fmt: skip
    beams("remove-invalid", lambda d: nb(d, 8, num_beams=3, remove_invalid_values=True, no_repeat_ngram_size=2), ends=1)
    beams("to-the-context", lambda d: {"max_length": d.context, "num_beams": 3, "num_return_sequences": 2},
          length=max(1, cases.context - 7))  # fmt: skip
    for k in range(8):
        beams(f"random-{k}", random_beams, length=rng.randint(1, 7), ends=rng.choice([1, 1, 2, 3]))

    # Processed scores of one step.
    scores("temperature", {"temperature": 0.6, "top_k": 0})
    scores("temperature-above-one", {"temperature": 1.7, "top_k": 0})
    scores("top-k-1", {"top_k": 1})
    scores("top-k-beyond-vocabulary", {"top_k": 5000})
    scores("top-p-small", {"top_k": 0, "top_p": 0.2})
    scores("top-p-after-top-k", {"top_k": 9, "top_p": 0.7})
    scores("min-p", {"top_k": 0, "min_p": 0.08})
    scores("typical", {"top_k": 0, "typical_p": 0.7})
    scores("typical-small", {"top_k": 0, "typical_p": 0.2})
    scores("epsilon", {"top_k": 0, "epsilon_cutoff": 0.02})
    scores("eta", {"top_k": 0, "eta_cutoff": 0.03})
    scores("top-h", {"top_k": 0, "top_h": 0.5})
    scores("all-warpers", {"temperature": 1.4, "top_k": 40, "top_p": 0.97, "min_p": 0.01, "typical_p": 0.95,
                           "epsilon_cutoff": 0.001, "eta_cutoff": 0.002, "renormalize_logits": True})  # fmt: skip
    scores("all-warpers-top-h", {"temperature": 0.8, "top_h": 0.9, "top_k": 12, "top_p": 0.95, "min_p": 0.02,
                                 "typical_p": 0.9, "epsilon_cutoff": 0.003, "eta_cutoff": 0.003})  # fmt: skip
    scores("repetition", {"top_k": 0, "repetition_penalty": 1.5}, length=7)
    scores("ngram", lambda d: {"top_k": 0, "no_repeat_ngram_size": 1, "temperature": 0.9}, length=6)
    scores("bad-words", lambda d: {"top_k": 0, "bad_words_ids": [[d.prompt[-1], d.free[0]], [d.tokens(1)[0]]]})
    scores("sequence-bias", lambda d: {"top_k": 0, "sequence_bias": d.biases()})
    scores("min-new-tokens", lambda d: {"top_k": 0, "min_new_tokens": 3, "eos_token_id": [d.free[0], d.tokens(1)[0]]})
    scores("suppress-renormalise", lambda d: {"top_k": 0, "suppress_tokens": d.tokens(3), "renormalize_logits": True})
    scores("remove-invalid", lambda d: {"top_k": 0, "remove_invalid_values": True, "bad_words_ids": [[d.free[0]]]})
    scores("decay", lambda d: {"top_k": 0, "exponential_decay_length_penalty": [-3, 1.5], "eos_token_id": [d.free[1]]})
    scores("forced-first", lambda d: {"top_k": 0, "forced_bos_token_id": d.tokens(1)[0]}, length=1)
    scores("greedy-processors", lambda d: {"do_sample": False, "repetition_penalty": 1.2, "no_repeat_ngram_size": 2,
                                           "suppress_tokens": d.tokens(2), "temperature": 0.3, "top_k": 3})  # fmt: skip
    scores("together", lambda d: {"temperature": 0.8, "top_k": 20, "top_p": 0.95, "repetition_penalty": 1.3,
                                  "no_repeat_ngram_size": 2, "sequence_bias": d.biases(),
                                  "begin_suppress_tokens": [d.free[0]]}, length=8)  # fmt: skip


def random_beams(d: Draft) -> dict[str, Any]:
    """Random settings of a beam search."""
    rng, count = d.rng, d.rng.randint(2, 6)
    settings: dict[str, Any] = {"num_beams": count}
    settings |= rng.choice([{"max_new_tokens": d.new(rng.randint(3, 14))}, {"max_length": d.total(rng.randint(3, 14))}])
    options: list[Callable[[], dict[str, Any]]] = [
        lambda: {"early_stopping": rng.choice([False, True, "never"])},
        lambda: {"length_penalty": rng.choice([-0.5, 0.0, 0.5, 0.8, 1.3, 2.0])},
        lambda: {"num_return_sequences": rng.randint(1, count)},
        lambda: {"no_repeat_ngram_size": rng.choice([1, 2, 3])},
        lambda: {"repetition_penalty": rng.choice([0.9, 1.1, 1.5])},
        lambda: {"min_new_tokens": d.new(rng.randint(1, 5))},
        lambda: {"min_length": d.total(rng.randint(1, 5))},
        lambda: {"bad_words_ids": d.bad_words()},
        lambda: {"sequence_bias": d.biases()},
        lambda: {"suppress_tokens": d.tokens(3)},
        lambda: {"begin_suppress_tokens": [d.free[0]] + d.tokens(1)},
        lambda: {"renormalize_logits": True},
        lambda: {"remove_invalid_values": True},
        lambda: {"exponential_decay_length_penalty": [rng.randint(0, 4), rng.choice([0.9, 1.2, 1.6])]},
    ]
    for option in options[:3] + rng.sample(options[3:], rng.randint(0, 4)):
        settings |= option()
    return settings


# ---------------------------------------------------------------------------------------------------------------------
# Checking
# ---------------------------------------------------------------------------------------------------------------------


def check_folder(folder: Path) -> tuple[int, list[str]]:
    """Loads a model anew and reproduces its reference: (cases, complaints)."""
    reference = json.loads((folder / "reference/reference.json").read_text())
    jsonschema.validate(reference, json.loads(SCHEMA.read_text()))
    tensors = load_file(folder / "reference/reference.safetensors")
    complaints: list[str] = []
    if named_tensors(reference) != set(tensors):
        complaints.append("reference.json and reference.safetensors name different tensors")
    model, model64 = load(folder)

    def close(name: str, what: str, value: torch.Tensor, expected: torch.Tensor, absolute: float, relative: float) -> None:
        if value.shape != expected.shape:
            return complaints.append(f"{name}: {what} has shape {list(value.shape)}, not {list(expected.shape)}")
        same = value == expected  # equal infinities
        error = torch.where(same, 0.0, (value.double() - expected.double()).abs())
        if not bool((error <= absolute + relative * torch.where(same, 0.0, expected.double().abs())).all()):
            complaints.append(f"{name}: {what} off by {float(error.max()):.3g}")

    for case in reference["cases"]:
        name, settings = case["name"], case.get("generation_config", {})
        ids = torch.tensor([case["input_ids"]]) if "input_ids" in case else None
        if "logits" in case or "hidden_states" in case:
            forget_lengths(model)
            with torch.no_grad():
                out = model(ids, output_hidden_states=True)
            if "logits" in case:
                close(name, "logits", out.logits[0], tensors[case["logits"]], LOGITS_TOLERANCE, LOGITS_TOLERANCE)
            for k, key in enumerate(case.get("hidden_states", [])):
                close(name, f"hidden state {k}", out.hidden_states[k][0], tensors[key], LOGITS_TOLERANCE, LOGITS_TOLERANCE)
            if "token_logprobs" in case:
                logprobs = torch.log_softmax(out.logits[0].double(), -1)[:-1].gather(1, ids[0, 1:, None])[:, 0]
                close(name, "token_logprobs", logprobs, torch.tensor(case["token_logprobs"][1:], dtype=torch.float64),
                      LOGITS_TOLERANCE, 0)  # fmt: skip
        if "processed_scores" in case:
            close(name, "processed scores", next_scores(model, case["input_ids"], settings),
                  tensors[case["processed_scores"]], LOGITS_TOLERANCE, LOGITS_TOLERANCE)  # fmt: skip
        if "output_ids" in case:
            run = generate(model, case["input_ids"], settings)
            if run.sequences.tolist() != case["output_ids"]:
                complaints.append(f"{name}: tokens differ")
            elif "sequences_scores" in case:
                close(name, "sequence scores", run.sequences_scores, torch.tensor(case["sequences_scores"]), SCORE_TOLERANCE, 0)
        if "loss" in case:
            value, gradients = loss_and_gradients(model64, case["input_ids_batch"])
            close(name, "loss", torch.tensor(value), torch.tensor(case["loss"]), 0, LOSS_TOLERANCE)
            prefix = FAMILIES[model.config.model_type].prefix
            bare = {n.removeprefix(prefix): g for n, g in gradients.items()}
            for parameter, key in case.get("gradients", {}).items():
                expected = tensors[key]
                close(name, f"gradient of {parameter}", bare[parameter.removeprefix(prefix)].float(), expected,
                      1e-6 + 2e-4 * float(expected.abs().max()), 0)  # fmt: skip
    return len(reference["cases"]), complaints


def check(root: Path) -> int:
    """Checks every model at or below `root`; returns the exit status."""
    folders = sorted(p.parent.parent for p in root.glob("**/reference/reference.json"))
    total = failed = 0
    for folder in folders:
        count, complaints = check_folder(folder)
        total += count
        failed += len(complaints)
        print(f"{folder.name}: {count} cases, {'reproduced' if not complaints else 'FAILED'}", flush=True)
        for complaint in complaints:
            print(f"  {complaint}")
    print(f"{len(folders)} models, {total} cases, {failed} complaints")
    return 0 if folders and not failed else 1


# ---------------------------------------------------------------------------------------------------------------------
# Command line
# ---------------------------------------------------------------------------------------------------------------------


def build_all(recipes: list[Recipe], root: Path) -> None:
    """Builds each recipe into `root/<family>-<name>` and reports what the references exercise."""
    counts: Counter[str] = Counter()
    for recipe in recipes:
        started = time.monotonic()
        folder = root / f"{recipe.family}-{recipe.name}"
        while True:
            try:
                cases = build(recipe, folder)
                break
            except Unsteady as reason:
                recipe.gain *= 0.8
                print(f"{folder.name}: {reason}; again with gain {recipe.gain:.3g}", flush=True)
        size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        print(f"{folder.name}: {len(cases.cases)} cases, {size / 1024:.0f} KiB, {time.monotonic() - started:.1f} s"
              + (f", dropped {' '.join(cases.dropped)}" if cases.dropped else ""), flush=True)  # fmt: skip
        worst = "worst logits error, percent of tolerance"
        counts[worst] = max(counts[worst], cases.counts.pop(worst, 0))
        counts.update({"models": 1, "cases": len(cases.cases), "KiB": size // 1024, "dropped": len(cases.dropped)} | dict(cases.counts))
    for key in sorted(counts):
        print(f"{counts[key]:8d}  {key}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--fixtures", action="store_true", help="rebuild the committed fixtures")
    action.add_argument("--sweep", type=int, metavar="N", help="make N random models into --out")
    action.add_argument("--check", type=Path, metavar="DIR", help="reproduce every reference below DIR")
    parser.add_argument("--family", choices=sorted(FAMILIES), action="append", help="only this family (repeatable)")
    parser.add_argument("--only", metavar="NAME", help="fixtures and sweeps: only recipes whose name contains this")
    parser.add_argument("--seed", type=int, default=1000, help="sweep: the first model's seed (default 1000)")
    parser.add_argument("--out", type=Path, help="sweep: where to; fixtures: another place than the committed one")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1, for reproducible bytes)")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore")

    if options.check:
        return check(options.check)
    families = [FAMILIES[name] for name in options.family or FAMILIES]
    if options.fixtures:
        recipes, root = [r for f in families for r in f.fixtures()], options.out or FIXTURES
    else:
        if not options.out:
            parser.error("--sweep needs --out")
        recipes, root = [], options.out
        for index in range(options.sweep):
            family = families[index % len(families)]
            rng = random.Random(f"{family.model_type}/sweep/{options.seed + index}")
            recipe = family.sample(rng, index)
            recipe.seed = options.seed + index
            recipes.append(recipe)
    build_all([r for r in recipes if not options.only or options.only in r.name], root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
