"""Writes the tokenizer fixtures beside this script: small tokenizers trained here, and what transformers says.

    python generate.py        # versions: ../requirements.txt

Each folder holds a tokenizer and cases.json: texts, ids by `AutoTokenizer`, and the decodings where they differ
from the text. parts.json holds single normalisers, pre-tokenisers and decoders with what they give.
"""

import itertools
import json
import shutil
import sys
from pathlib import Path

import tokenizers
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import texts

HERE = Path(__file__).parent
SEED = 20261123
COUNT = 88
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK = [
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]
KIMI = r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+"


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def bytes_after(*steps):
    return pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def train_bytes(tokenizer, size, special):
    tokenizer.train_from_iterator(
        texts.training(SEED),
        trainers.BpeTrainer(
            vocab_size=size, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        ),
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train_marked(t, mark):
    """Trains a model that marks characters by their place in the word.

    `tokenizers` numbers marked characters in the order of a hash table, another one in every run, and merges of equal
    counts follow the numbers. Given as special tokens they are numbered as listed; then they are made plain again.
    """
    normalize = t.normalizer.normalize_str if t.normalizer else str
    words = {word for text in texts.training(SEED, 500) for word, _ in t.pre_tokenizer.pre_tokenize_str(normalize(text))}
    marked = sorted({mark(word, place) for word in words for place in range(len(word))})
    affixes = {name: getattr(t.model, name) for name in ("continuing_subword_prefix", "end_of_word_suffix") if getattr(t.model, name)}
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>", *marked], show_progress=False, **affixes)
    t.train_from_iterator(texts.training(SEED, 500), trainer)
    data = json.loads(t.to_str())
    data["added_tokens"] = data["added_tokens"][:1]
    return Tokenizer.from_str(json.dumps(data))


def gpt2():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    train_bytes(t, 700, ["<|endoftext|>"])
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return t, {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}


def gpt2_prefix():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    train_bytes(t, 500, ["<s>", "</s>"])
    t.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    return t, {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}


def qwen2():
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = bytes_after(split(QWEN2))
    train_bytes(t, 700, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    t.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("é", normalized=True)])
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    config["additional_special_tokens"] = ["<|im_start|>", "<|im_end|>", "<|new|>"]
    return t, config


def llama3():
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer = bytes_after(split(LLAMA3))
    train_bytes(t, 600, ["<|begin_of_text|>", "<|eot_id|>"])
    template = processors.TemplateProcessing(single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)])
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return t, {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}


def o200k():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = bytes_after(split(O200K))
    return train_bytes(t, 600, ["<|endoftext|>"]), {"tokenizer_class": "PreTrainedTokenizerFast"}


def deepseek():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = bytes_after(*map(split, DEEPSEEK))
    return train_bytes(t, 600, ["<｜begin▁of▁sentence｜>"]), {"tokenizer_class": "PreTrainedTokenizerFast"}


def word_level():
    t = Tokenizer(models.WordLevel(unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(Regex(r"[^\w\s<>.,'!?]"), "")])
    t.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    t.train_from_iterator(texts.training(SEED), trainers.WordLevelTrainer(vocab_size=300, special_tokens=["<sos>", "<eos>", "<unk>"], show_progress=False))
    t.add_tokens([".", ",", "'s", "n't"])
    return t, {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<sos>", "eos_token": "<eos>", "unk_token": "<unk>",
        "clean_up_tokenization_spaces": True,
    }


def added():
    """Every combination of the flags of added tokens, one of them inside another."""
    t = Tokenizer(models.BPE(unk_token="<unk>"))
    t.normalizer = normalizers.Lowercase()
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t.train_from_iterator(texts.training(SEED), trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>"], show_progress=False))
    tokens = []
    for index, flags in enumerate(itertools.product([False, True], repeat=5)):
        single_word, lstrip, rstrip, normalized, special = flags
        content = f"T{index}" if index % 2 else f"<X{index}>"
        tokens.append(AddedToken(content, single_word=single_word, lstrip=lstrip, rstrip=rstrip, normalized=normalized, special=special))
    tokens += [AddedToken("<X0><X2>", normalized=False), AddedToken("the", normalized=True, single_word=True)]
    t.add_tokens(tokens)
    return t, {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>"}


def byte_fallback():
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    t.train_from_iterator(texts.training(SEED, 300), trainers.BpeTrainer(vocab_size=500, special_tokens=special, max_token_length=8, show_progress=False))
    data = json.loads(t.to_str())
    # Byte tokens are plain tokens of the model, and one of them is missing, so that the unknown token is met.
    data["added_tokens"] = data["added_tokens"][:3]
    del data["model"]["vocab"]["<0xF0>"]
    t = Tokenizer.from_str(json.dumps(data))
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return t, {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def affixes():
    t = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    t.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Strip()])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits(True)])
    t = train_marked(t, lambda word, place: word[place] + "</w>" if place == len(word) - 1 else word[place])
    t.decoder = decoders.BPEDecoder("</w>")
    return t, {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>"}


def prefixes():
    t = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##", fuse_unk=True))
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t = train_marked(t, lambda word, place: "##" + word[place] if place > 0 else word[place])
    t.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return t, {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>"}


def metaspace():
    t = Tokenizer(models.BPE(unk_token="<unk>"))
    t.normalizer = normalizers.NFKC()
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    t.train_from_iterator(texts.training(SEED, 500), trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>", "<s>"], show_progress=False))
    t.decoder = decoders.Metaspace(prepend_scheme="first")
    t.enable_truncation(5)
    t.enable_padding(length=20, pad_id=1, pad_token="<s>")
    return t, {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>"}


def cases(folder, special, seed):
    t = transformers.AutoTokenizer.from_pretrained(folder)
    out = []
    for text in texts.strings(seed, COUNT, special):
        ids = t.encode(text)
        case = {"text": text, "ids": ids}
        for key, skip in (("decoded", False), ("skipped", True)):
            decoded = t.decode(ids, skip_special_tokens=skip)
            if decoded != text:
                case[key] = decoded
        if (plain := t.encode(text, add_special_tokens=False)) != ids:
            case["plain"] = plain
        out.append(case)
    return t, out


def write(path, value):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        json.dump(value, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


def tokenizer_fixtures():
    makers = [gpt2, gpt2_prefix, qwen2, llama3, o200k, deepseek, word_level, added, byte_fallback, affixes, prefixes, metaspace]
    for index, maker in enumerate(makers):
        folder = HERE / maker.__name__
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        tokenizer, config = maker()
        write(folder / "tokenizer.json", json.loads(tokenizer.to_str()))
        write(folder / "tokenizer_config.json", config)
        finish(folder, SEED + index)
    # The files that came before tokenizer.json.
    folder = HERE / "gpt2_files"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    model = json.loads((HERE / "gpt2" / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    write(folder / "vocab.json", model["vocab"])
    lines = ["#version: 0.2"] + [" ".join(pair) for pair in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write(folder / "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "pad_token": "<pad>"})
    finish(folder, SEED + len(makers))


def special_ids(t):
    """What decoding leaves out goes by the text of the token."""
    special = {x.content for x in t.get_added_tokens_decoder().values() if x.special}
    return [i for i in range(t.get_vocab_size()) if t.id_to_token(i) in special]


def finish(folder, seed):
    special = [token.content for token in transformers.AutoTokenizer.from_pretrained(folder)._tokenizer.get_added_tokens_decoder().values()]
    t, out = cases(folder, special, seed)
    named = {role: t.convert_tokens_to_ids(token) for role, token in t.special_tokens_map.items()}
    write(folder / "cases.json", {"seed": seed, "size": len(t), "named": named, "special": special_ids(t._tokenizer), "cases": out})


def parts():
    """Single steps by their JSON, with inputs and outputs."""
    behaviors = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
    cutters = [split(p, b, i) for b in behaviors for i in (False, True) for p in (r"\s+|,", r"\p{Lu}|", r"(?<=a)\d*")]
    cutters += [pre_tokenizers.Split("a ", b, False) for b in behaviors]
    cutters += [split(p) for p in (QWEN2, LLAMA3, O200K, *DEEPSEEK, KIMI, r"\w+", r"[^\w]+", r"\b", r"\S+\h", r"[[:alpha:]]+", r"\p{N}{1,3}+", r"(?i)[k-s]+", r"^.", r".$", r"(?m:a.)", r"\x{4e00}|\x41|\v")]
    cutters += [pre_tokenizers.Digits(False), pre_tokenizers.Digits(True), pre_tokenizers.Whitespace(), pre_tokenizers.WhitespaceSplit(), pre_tokenizers.CharDelimiterSplit("a")]
    cutters += [pre_tokenizers.Punctuation(b) for b in behaviors]
    cutters += [pre_tokenizers.Metaspace(prepend_scheme=s, split=x) for s in ("always", "first", "never") for x in (True, False)]
    cutters += [pre_tokenizers.Sequence([pre_tokenizers.ByteLevel(add_prefix_space=True), pre_tokenizers.Digits(True)])]
    changers = [normalizers.NFC(), normalizers.NFD(), normalizers.NFKC(), normalizers.NFKD(), normalizers.Lowercase(), normalizers.StripAccents(),
                normalizers.Strip(True, False), normalizers.Strip(False, True), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Replace("a", "<b>"), normalizers.Prepend("_")]
    joiners = [decoders.ByteLevel(), decoders.ByteFallback(), decoders.Fuse(), decoders.WordPiece("##", True), decoders.WordPiece("##", False), decoders.BPEDecoder("</w>"),
               decoders.Metaspace(), decoders.Metaspace(prepend_scheme="never"), decoders.Replace("▁", " "), decoders.Replace(Regex(r"\s+"), "-"), decoders.Strip("a", 2, 1),
               decoders.Sequence([decoders.Fuse(), decoders.Replace("a b", "c")]), decoders.Sequence([decoders.Fuse(), decoders.Strip(" ", 2, 3)]), decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.ByteLevel()])]
    tokens = ["a", " ", "a b", "▁", "▁the", "##ing", "</w>", "end</w>", "<0xE4>", "<0xBD>", "<0xA0>", "<0xZZ>", "<0x4>", "Ġ", "Ã©", "ä½", "ł", " .", " n't", "你", "aa", "b", " do not", "", "  "]

    import random
    r = random.Random(SEED)
    inputs = list(texts.strings(SEED, 40)) + ["a, B  aC1a22", "Hello, World 123!\n x"]
    out = {"pre_tokenizers": [], "normalizers": [], "decoders": []}
    for step in cutters:
        sample = inputs[-2:] + r.sample(inputs, 12)
        out["pre_tokenizers"].append({"part": json.loads(step.__getstate__()), "cases": [[x, [p for p, _ in step.pre_tokenize_str(x)]] for x in sample]})
    for step in changers:
        out["normalizers"].append({"part": json.loads(step.__getstate__()), "cases": [[x, step.normalize_str(x)] for x in inputs]})
    for step in joiners:
        runs = [[r.choice(tokens) for _ in range(r.randrange(0, 9))] for _ in range(30)]
        if "Strip" in step.__getstate__().decode():
            runs = [["long enough"] + [x for x in run if len(x) > 2] for run in runs]  # short ones overflow in tokenizers
        out["decoders"].append({"part": json.loads(step.__getstate__()), "cases": [[run, step.decode(run)] for run in runs]})
    write(HERE / "parts.json", out)


if __name__ == "__main__":
    tokenizer_fixtures()
    parts()
    write(HERE / "versions.json", {"tokenizers": tokenizers.__version__, "transformers": transformers.__version__, "python": sys.version.split()[0], "seed": SEED})
