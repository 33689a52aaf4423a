"""Makes the fixtures of GenerationTests by running transformers on a model that is a formula.

The model's logits are t1[last token] + t2[token before], two tables of hashed numbers exact in fp32, so that the
tests compute the same logits without a file of weights. Cases whose outcome hangs on a difference below the
rounding of either engine are left out and counted: equal scores have no order in torch's topk.

    python generate.py        # writes beams.json, tokens.json, stops.json and processors.json beside itself
"""

import base64
import itertools
import json
import math
import pathlib
import random
import warnings

import numpy
import tokenizers
import torch
import transformers
from transformers import GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import CausalLMOutput

EXPECTED = {"transformers": "5.23.0", "torch": "2.13.0+cpu"}
SEED = 20250
MARGIN = 2e-5
HERE = pathlib.Path(__file__).parent


def table(seed, which, vocabulary, scale):
    """(vocabulary + 1, vocabulary) numbers in ±8·scale; the last row stands for "no token"."""
    rows = numpy.arange(vocabulary + 1, dtype=numpy.uint64)[:, None]
    columns = numpy.arange(vocabulary, dtype=numpy.uint64)[None, :]
    index = (rows + numpy.uint64(which * (vocabulary + 1))) * numpy.uint64(vocabulary) + columns
    with numpy.errstate(over="ignore"):
        z = numpy.uint64(seed) * numpy.uint64(0x9E3779B97F4A7C15) + index * numpy.uint64(0xD1342543DE82EF95)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        z = z ^ (z >> numpy.uint64(31))
    high = (z >> numpy.uint64(40)).astype(numpy.int64) - 2**23
    return torch.from_numpy((high * (scale / 2**20)).astype(numpy.float32))


class TableConfig(PretrainedConfig):
    model_type = "table"

    def __init__(self, vocab_size=8, max_position_embeddings=512, **kwargs):
        self.vocab_size = vocab_size
        self.max_position_embeddings = max_position_embeddings
        super().__init__(**kwargs)


class TableModel(PreTrainedModel, GenerationMixin):
    config_class = TableConfig

    def __init__(self, seed, vocabulary, scale):
        super().__init__(TableConfig(vocab_size=vocabulary))
        self.first = table(seed, 0, vocabulary, scale)
        self.second = table(seed, 1, vocabulary, scale)
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.generation_config = GenerationConfig()

    def forward(self, input_ids, attention_mask=None, **kwargs):
        last = input_ids[:, -1]
        before = input_ids[:, -2] if input_ids.shape[1] > 1 else torch.full_like(last, self.config.vocab_size)
        return CausalLMOutput(logits=(self.first[last] + self.second[before])[:, None, :])


class Margin:
    """The smallest difference on which a decision of beam search has hung so far."""

    def __init__(self, model):
        self.smallest = math.inf
        self.undefined = False
        names = ["_get_top_k_continuations", "_get_running_beams_for_next_iteration", "_update_finished_beams"]
        originals = {name: getattr(model, name) for name in names}

        def ranked(scores, count):
            ordered = torch.sort(scores.flatten(), descending=True).values[: count + 1].double()
            real = ordered[ordered > -1e8]
            if len(real) > 1:
                self.smallest = min(self.smallest, float((real[:-1] - real[1:]).min()))
            return len(real), len(ordered)

        def continuations(**arguments):
            real, _ = ranked(arguments["accumulated_log_probs"], arguments["beams_to_keep"])
            # Fewer eligible continuations than are kept: the rest are ties at −1e9 or −∞.
            self.undefined |= real < arguments["beams_to_keep"]
            return originals[names[0]](**arguments)

        def finished(**arguments):
            result = originals[names[2]](**arguments)
            ranked(result[1], len(result[1].flatten()))
            return result

        model._get_top_k_continuations = continuations
        model._update_finished_beams = finished
        original = model._check_early_stop_heuristic

        def heuristic(**arguments):
            scores, done = arguments["beam_scores"], arguments["is_sent_finished"]
            if done.all():
                length = arguments["cur_len"] - arguments["decoder_prompt_len"]
                if arguments["early_stopping"] == "never" and arguments["length_penalty"] > 0.0:
                    length = arguments["max_length"] - arguments["decoder_prompt_len"]
                best = arguments["running_beam_scores"][0, 0] / length ** arguments["length_penalty"]
                self.smallest = min(self.smallest, abs(float(best - scores.min())))
            return original(**arguments)

        model._check_early_stop_heuristic = heuristic


def score_settings(rng, vocabulary, end_tokens, chance=0.25):
    """Settings that change scores, each with some probability."""
    settings = {}

    def maybe(name, make, factor=1.0):
        if rng.random() < chance * factor:
            settings[name] = make()

    def token():
        return rng.randrange(vocabulary)

    maybe("repetition_penalty", lambda: round(rng.uniform(0.7, 1.8), 3))
    maybe("no_repeat_ngram_size", lambda: rng.choice([1, 2, 2, 3, 3, 4]))
    maybe("encoder_repetition_penalty", lambda: round(rng.uniform(0.7, 1.5), 3), 0.3)
    maybe("encoder_no_repeat_ngram_size", lambda: rng.choice([2, 3]), 0.3)
    maybe("bad_words_ids", lambda: [[token() for _ in range(rng.choice([1, 2, 2, 3]))] for _ in range(4)], 0.5)
    maybe(
        "sequence_bias",
        lambda: [
            [[token() for _ in range(rng.choice([1, 1, 2, 3]))], round(rng.uniform(-6, 6), 2)] for _ in range(6)
        ],
        0.5,
    )
    maybe("suppress_tokens", lambda: sorted({token() for _ in range(3)}), 0.5)
    maybe("begin_suppress_tokens", lambda: sorted({token() for _ in range(3)}), 0.5)
    maybe("renormalize_logits", lambda: True, 0.5)
    maybe("remove_invalid_values", lambda: True, 0.3)
    if end_tokens:
        maybe("min_length", lambda: rng.randrange(2, 14), 0.5)
        maybe("min_new_tokens", lambda: rng.randrange(1, 8), 0.5)
        maybe("exponential_decay_length_penalty", lambda: [rng.randrange(0, 6), round(rng.uniform(0.9, 1.4), 3)], 0.5)
        maybe("forced_eos_token_id", lambda: end_tokens[0], 0.3)
    maybe("forced_bos_token_id", token, 0.2)
    forced = {settings.get("forced_bos_token_id"), settings.get("forced_eos_token_id")} - {None}
    if forced & set(settings.get("suppress_tokens", [])):
        del settings["suppress_tokens"]
    return settings


def sampling_settings(rng, chance):
    settings = {"do_sample": True, "top_k": 0}

    def maybe(name, make):
        if rng.random() < chance:
            settings[name] = make()

    maybe("temperature", lambda: round(rng.choice([0.5, 0.7, 0.8, 1.3, 2.0]) * rng.uniform(0.9, 1.1), 3))
    maybe("top_k", lambda: rng.choice([1, 3, 5, 10, 20, 50]))
    maybe("top_p", lambda: round(rng.uniform(0.05, 0.99), 3))
    maybe("min_p", lambda: round(rng.uniform(0.0, 0.4), 3))
    maybe("typical_p", lambda: round(rng.uniform(0.1, 0.99), 3))
    maybe("epsilon_cutoff", lambda: round(rng.uniform(0.0001, 0.1), 5))
    maybe("eta_cutoff", lambda: round(rng.uniform(0.0001, 0.3), 5))
    maybe("top_h", lambda: round(rng.uniform(0.1, 1.0), 3))
    return settings


def run(model, prompt, settings, **extra):
    return model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        generation_config=GenerationConfig(**settings),
        use_cache=False,
        return_dict_in_generate=True,
        output_scores=True,
        **extra,
    )


def letter_tokens():
    """Texts of 1 to 3 letters that overlap in many ways; token ids are places in this list."""
    pairs = ["".join(letters) for letters in itertools.product("abc", repeat=2)]
    triples = ["".join(letters) for letters in itertools.product("abc", repeat=3)]
    return list("abcdef") + pairs + triples


def letter_tokenizer():
    vocabulary = {text: place for place, text in enumerate(letter_tokens())}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def base_case(rng, vocabulary=None):
    vocabulary = vocabulary or rng.choice([13, 24, 37, 50])
    seed = rng.randrange(2**31)
    scale = rng.choice([0.25, 0.5, 1.0])
    prompt = [rng.randrange(vocabulary) for _ in range(rng.choice([1, 2, 3, 5, 8]))]
    count = rng.choice([0, 1, 1, 1, 2, 3])
    end_tokens = rng.sample(range(vocabulary), count)
    settings = {}
    if end_tokens:
        settings["eos_token_id"] = end_tokens if count > 1 or rng.random() < 0.3 else end_tokens[0]
    if rng.random() < 0.6:
        settings["pad_token_id"] = rng.choice([0, rng.randrange(vocabulary)])
    if rng.random() < 0.5:
        settings["max_length"] = len(prompt) + rng.randrange(1, 20)
    else:
        settings["max_new_tokens"] = rng.randrange(1, 20)
    case = {"seed": seed, "vocabulary": vocabulary, "scale": scale, "prompt": prompt}
    return case, settings, end_tokens


def beam_cases(rng, number):
    cases, left_out = [], 0
    while len(cases) < number:
        case, settings, end_tokens = base_case(rng)
        beams = rng.choice([2, 2, 3, 3, 4, 5, 5, 8])
        settings |= {"num_beams": beams, "early_stopping": rng.choice([False, True, "never"])}
        if rng.random() < 0.7:
            settings["length_penalty"] = rng.choice([-1.0, -0.5, 0.0, 0.5, 0.8, 1.2, 2.0, 3.0])
        if rng.random() < 0.6:
            settings["num_return_sequences"] = rng.randint(1, beams)
        settings |= score_settings(rng, case["vocabulary"], end_tokens, 0.2)
        model = TableModel(case["seed"], case["vocabulary"], case["scale"])
        margin = Margin(model)
        output = run(model, case["prompt"], settings)
        scores = output.sequences_scores
        if margin.smallest < MARGIN or margin.undefined or not torch.isfinite(scores).all() or (scores < -1e8).any():
            left_out += 1
            continue
        case["generation_config"] = settings
        case["sequences"] = output.sequences.tolist()
        case["scores"] = [float(score) for score in scores]
        cases.append(case)
    return cases, left_out


def token_cases(rng, number):
    cases, left_out, steps = [], 0, 0
    while len(cases) < number:
        case, settings, end_tokens = base_case(rng)
        settings |= score_settings(rng, case["vocabulary"], end_tokens, 0.35)
        model = TableModel(case["seed"], case["vocabulary"], case["scale"])
        output = run(model, case["prompt"], settings)
        tops = torch.stack(output.scores).squeeze(1).topk(2).values.double()
        gaps = tops[:, 0] - tops[:, 1]
        if (tops[:, 0] == -math.inf).any() or (gaps < MARGIN).any():
            left_out += 1
            continue
        case["generation_config"] = settings
        case["sequences"] = output.sequences.tolist()
        cases.append(case)
        steps += len(output.scores)
    return cases, left_out, steps


def stop_cases(rng, number):
    """Greedy decoding and beams that end at texts."""
    cases, left_out = [], 0
    tokenizer = letter_tokenizer()
    while len(cases) < number:
        case, settings, end_tokens = base_case(rng, len(letter_tokens()))
        settings["stop_strings"] = [
            "".join(rng.choice("abc") for _ in range(rng.choice([1, 2, 3, 3, 4, 5]))) for _ in range(rng.choice([1, 2]))
        ]
        settings |= score_settings(rng, case["vocabulary"], end_tokens, 0.1)
        if rng.random() < 0.6:
            settings |= {"num_beams": rng.choice([2, 3, 5]), "early_stopping": rng.choice([False, True, "never"])}
        model = TableModel(case["seed"], case["vocabulary"], case["scale"])
        margin = Margin(model)
        output = run(model, case["prompt"], settings, tokenizer=tokenizer)
        if "num_beams" not in settings:
            tops = torch.stack(output.scores).squeeze(1).topk(2).values.double()
            margin.smallest = float((tops[:, 0] - tops[:, 1]).min())
        elif (output.sequences_scores < -1e8).any():
            margin.undefined = True
        if not margin.smallest > MARGIN or margin.undefined:
            left_out += 1
            continue
        case["generation_config"] = settings
        case["sequences"] = output.sequences.tolist()
        cases.append(case)
    return cases, left_out


def encoded(scores):
    return base64.b64encode(scores.numpy().astype("<f4").tobytes()).decode()


def random_scores(rng, vocabulary, kind):
    generator = numpy.random.default_rng(rng.randrange(2**31))
    scores = generator.normal(0, 3, vocabulary).astype(numpy.float32)
    if kind == "ties":
        scores = (numpy.round(scores * 2) / 2).astype(numpy.float32)
    if kind == "holes":
        scores[generator.random(vocabulary) < 0.3] = -numpy.inf
        scores[generator.integers(vocabulary)] = 1.5
    if kind == "extreme":
        scores[generator.random(vocabulary) < 0.2] *= numpy.float32(1e4)
    if kind == "invalid":
        scores[generator.random(vocabulary) < 0.1] = numpy.nan
        scores[generator.random(vocabulary) < 0.1] = numpy.inf
        scores[generator.random(vocabulary) < 0.1] = -numpy.inf
    return torch.from_numpy(scores)


def processed(model, prompt, history, scores, settings):
    config, _ = model._prepare_generation_config(GenerationConfig(**settings))
    model._prepare_special_tokens(config, True, device="cpu", batch_size=1)
    prompt_ids = torch.tensor([prompt])
    config = model._prepare_generated_length(
        config, "max_length" not in settings, "min_length" not in settings, "input_ids", len(prompt), prompt_ids
    )
    processors = model._get_logits_processor(
        config, input_ids_seq_length=len(prompt), encoder_input_ids=prompt_ids, device="cpu", model_kwargs={}
    )
    return processors(torch.tensor([history]), scores[None].clone())[0]


def is_stable(model, prompt, history, scores, settings, result):
    """Whether the dropped tokens stay the same under changes the size of rounding."""
    thresholds = ["top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "top_h"]
    dropped = result == -math.inf
    for name in thresholds:
        for change in (1 - 4e-6, 1 + 4e-6):
            if name in settings and 0 < settings[name] * change < 1:
                other = processed(model, prompt, history, scores, settings | {name: settings[name] * change})
                if ((other == -math.inf) != dropped).any():
                    return False
    # Neither topk nor sort defines which of equal scores comes first.
    before = processed(model, prompt, history, scores, settings | {"do_sample": False})
    before = before / settings.get("temperature", 1.0)
    ties = before[:, None] == before[None, :]
    return not (ties & (dropped[:, None] != dropped[None, :])).any()


def processor_cases(rng, number):
    alone = [
        "repetition_penalty", "no_repeat_ngram_size", "encoder_repetition_penalty", "encoder_no_repeat_ngram_size",
        "bad_words_ids", "sequence_bias", "suppress_tokens", "begin_suppress_tokens", "renormalize_logits",
        "remove_invalid_values", "min_length", "min_new_tokens", "exponential_decay_length_penalty",
        "forced_eos_token_id", "forced_bos_token_id", "temperature", "top_k", "top_p", "min_p", "typical_p",
        "epsilon_cutoff", "eta_cutoff", "top_h",
    ]  # fmt: skip
    cases, left_out = [], 0
    while len(cases) < number:
        vocabulary = rng.choice([5, 17, 32, 48])
        kind = rng.choice(["plain", "plain", "ties", "holes", "extreme"])
        prompt = [rng.randrange(vocabulary) for _ in range(rng.choice([1, 2, 4, 9]))]
        history = prompt + [rng.randrange(vocabulary) for _ in range(rng.choice([0, 0, 1, 3, 7]))]
        end_tokens = rng.sample(range(vocabulary), rng.choice([1, 1, 2]))
        settings = {"eos_token_id": end_tokens, "max_length": rng.choice([len(history) + 1, len(history) + 9])}
        if len(cases) < 8 * len(alone):
            name = alone[len(cases) % len(alone)]
            drawn = score_settings(rng, vocabulary, end_tokens, 10) | sampling_settings(rng, 10)
            if name not in drawn:
                continue
            settings[name] = drawn[name]
            if alone.index(name) >= alone.index("temperature"):
                settings |= {"do_sample": True, "top_k": settings.get("top_k", 0)}
            if name == "remove_invalid_values":
                kind = "invalid"
        else:
            settings |= score_settings(rng, vocabulary, end_tokens, 0.3)
            if rng.random() < 0.7:
                settings |= sampling_settings(rng, 0.35)
        if settings.get("do_sample") and rng.random() < 0.35:
            settings["num_beams"] = 3
        # Extreme scores have equal probabilities, 0, and no distribution when infinities are made finite.
        ordered = "top_h" in settings or ("min_p" in settings and "num_beams" in settings)
        if kind == "extreme" and ordered:
            continue
        if kind == "extreme" and settings.get("remove_invalid_values"):
            continue
        scores = random_scores(rng, vocabulary, kind)
        model = TableModel(0, vocabulary, 1.0)
        try:
            result = processed(model, prompt, history, scores, settings)
        except ValueError:  # every token is forbidden, and torch makes no distribution of that
            left_out += 1
            continue
        if torch.isnan(result).any() or not torch.isfinite(result.amax()):
            left_out += 1
            continue
        if settings.get("do_sample") and not is_stable(model, prompt, history, scores, settings, result):
            left_out += 1
            continue
        cases.append(
            {
                "generation_config": settings,
                "prompt": prompt,
                "history": history,
                "scores": encoded(scores),
                "processed": encoded(result),
            }
        )
    return cases, left_out


def write(name, cases, left_out):
    head = {"generator": EXPECTED, "seed": SEED, "left_out": left_out}
    lines = ",\n".join("  " + json.dumps(case, separators=(",", ":")) for case in cases)
    text = json.dumps(head)[:-1] + ', "cases": [\n' + lines + "\n]}\n"
    (HERE / name).write_text(text)
    print(f"{name}: {len(cases)} cases, {left_out} left out, {len(text) // 1024} KiB")


def main():
    found = {"transformers": transformers.__version__, "torch": torch.__version__}
    if found != EXPECTED:
        raise SystemExit(f"these fixtures are defined by {EXPECTED}, not by {found}")
    transformers.logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    torch.manual_seed(SEED)
    write("beams.json", *beam_cases(random.Random(SEED), 300))
    tokens, left_out, steps = token_cases(random.Random(SEED + 1), 120)
    write("tokens.json", tokens, left_out)
    print(f"{steps} greedy steps")
    write("stops.json", *stop_cases(random.Random(SEED + 3), 150))
    write("processors.json", *processor_cases(random.Random(SEED + 2), 400))


if __name__ == "__main__":
    main()
