"""Writes the tokenizer fixtures beside this script: small tokenizers trained here, and what the references say.

    python generate.py        # versions: ../requirements.txt
    python generate.py --sweep 10000 --seed 1 --out FOLDER [TOKENIZER ...]

Each folder holds a tokenizer and cases.json: texts, ids, and the decodings where they differ from the text; by
`AutoTokenizer`, or by the package `sentencepiece` for folders with nothing but a tokenizer.model. parts.json holds single
normalisers, pre-tokenisers and decoders with what they give.

A sweep writes the same tokenizers, and more that are too large to keep, with that many texts each; further folders or
files that are named are taken as they are. `INKSTONE_TOKENIZER_SWEEP=FOLDER swift test --filter SweepTests` compares.
"""

import argparse
import io
import itertools
import json
import shutil
import sys
import tempfile
from pathlib import Path

import sentencepiece
import tokenizers
import transformers
from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import texts
from charsmap import compile_rules

HERE = Path(__file__).parent
SEED = 20261123
COUNT = 88
RANDOM = 200
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


RULES = {
    "\u3000": " ", "\t": " ", "\n": " ", "\r": " ", "\u00a0": " ", "\u2009": " ", "\u200b": " ", "\u200c": "", "\ufeff": "", "\x08": "",
    "ﬁ": "fi", "½": " 1⁄2", "²": "2", "Ａ": "A", "e\u0301": "é", "か\u3099": "が", "ᄒ": "h", "A": "a", "T": "t", "Ⅷ": "VIII", "ß": "ss",
    "the": "THE", "機": "机", "®": "(R)", "👍": "+1",
}  # fmt: skip


def charsmap():
    return normalizers.Precompiled(compile_rules(RULES))


def train_unigram(t, size, special, bytes=False):
    """A vocabulary by sentencepiece: the trainer of `tokenizers` gives another one in every run."""
    model = pb.ModelProto.FromString(pieces(vocab_size=size, normalization_rule_name="identity"))
    vocab = [(text, 0.0) for text in special] + [(p.piece, p.score) for p in model.pieces if p.type == 1]
    if bytes:
        vocab += [(f"<0x{b:02X}>", -20.0) for b in range(256) if b != 0xF0]
    t.model = models.Unigram(vocab, special.index("<unk>"), bytes)
    t.add_special_tokens(special)
    return t


def unigram_t5():
    t = Tokenizer(models.Unigram())
    t.normalizer = charsmap()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    t = train_unigram(t, 500, ["<pad>", "</s>", "<unk>", "<extra_id_0>"])
    t.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    t.decoder = decoders.Metaspace()
    return t, {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


def unigram_bytes():
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    t = train_unigram(t, 400, ["<unk>", "<s>", "</s>"], bytes=True)
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return t, {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def albert():
    """A class that builds its pipeline itself."""
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.Lowercase(), charsmap()])
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t = train_unigram(t, 400, ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"])
    return t, {"tokenizer_class": "AlbertTokenizer"}


def xlm_roberta():
    t = Tokenizer(models.Unigram())
    t.normalizer = charsmap()
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t = train_unigram(t, 400, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return t, {"tokenizer_class": "XLMRobertaTokenizer"}


def t5():
    t = Tokenizer(models.Unigram())
    t.normalizer = charsmap()
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t = train_unigram(t, 400, ["<pad>", "</s>", "<unk>"])
    return t, {"tokenizer_class": "T5Tokenizer", "extra_ids": 5}


def train_word_piece(t, size, special, **options):
    t.train_from_iterator(texts.training(SEED, 500), trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False))
    prefix = options["continuing_subword_prefix"]
    vocab = t.get_vocab()
    # The vocabulary of the trained pairs, each token also as a continuation; WordPiece's own trainer is not reproducible.
    words = sorted(vocab, key=vocab.get)
    words += [prefix + w for w in words if w not in special]
    return {w: i for i, w in enumerate(dict.fromkeys(words))}


def word_piece():
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.BertNormalizer(strip_accents=False, lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    options = {"continuing_subword_prefix": "@@", "max_input_chars_per_word": 9}
    vocab = train_word_piece(t, 250, ["<unk>", "<cls>", "<sep>"], **options)
    t.model = models.WordPiece(vocab, unk_token="<unk>", **options)
    t.post_processor = processors.BertProcessing(("<sep>", 2), ("<cls>", 1))
    t.decoder = decoders.WordPiece("@@", cleanup=True)
    t.add_tokens([AddedToken("É", normalized=True), AddedToken("[X]", normalized=False, lstrip=True)])
    return t, {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "cls_token": "<cls>", "sep_token": "<sep>", "split_special_tokens": True}


def bert():
    """A class that builds its pipeline itself; its defaults differ from what tokenizer.json says."""
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.BertNormalizer()
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    vocab = train_word_piece(t, 300, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], continuing_subword_prefix="##")
    t.model = models.WordPiece(vocab, unk_token="[UNK]")
    return t, {"tokenizer_class": "BertTokenizer", "do_lower_case": False, "strip_accents": True, "clean_up_tokenization_spaces": True}


def scripts():
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.ByteLevel()])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.UnicodeScripts(), pre_tokenizers.FixedLength(7)])
    t = train_bytes(t, 500, ["<unk>"])
    return t, {"tokenizer_class": "PreTrainedTokenizerFast"}


def llama_vocabulary():
    t, _ = byte_fallback()
    data = json.loads(t.to_str())
    data["model"]["vocab"]["<0xF0>"] = max(data["model"]["vocab"].values()) + 1
    return Tokenizer.from_str(json.dumps(data))


def llama():
    config = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "legacy": False}
    return llama_vocabulary(), config


def llama_legacy():
    config = {"tokenizer_class": "LlamaTokenizerFast", "legacy": True, "add_bos_token": True, "add_eos_token": True, "extra_special_tokens": ["<|im_start|>"]}
    return llama_vocabulary(), config


def code_llama():
    return llama_vocabulary(), {"tokenizer_class": "CodeLlamaTokenizer", "add_bos_token": False}


def gemma():
    return llama_vocabulary(), {"tokenizer_class": "GemmaTokenizer", "bos_token": "<s>", "eos_token": "</s>"}


def gpt_neox():
    t, _ = gpt2()
    t.post_processor = processors.TemplateProcessing(single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)])
    return t, {"tokenizer_class": "GPTNeoXTokenizer", "add_prefix_space": True, "model_type": "gpt_neox"}


def cohere():
    t, _ = gpt2()
    t.add_tokens([AddedToken("<BOS_TOKEN>", special=True), AddedToken("<|END_OF_TURN_TOKEN|>", special=False)])
    t.post_processor = processors.TemplateProcessing(single="<BOS_TOKEN> $A", special_tokens=[("<BOS_TOKEN>", t.token_to_id("<BOS_TOKEN>"))])
    return t, {"tokenizer_class": "CohereTokenizer", "clean_up_tokenization_spaces": True}


def roberta():
    t, _ = gpt2_prefix()
    return t, {"tokenizer_class": "RobertaTokenizer"}


def pieces(seed=SEED, count=500, **options):
    """A tokenizer.model trained by sentencepiece."""
    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        if "rules" in options:
            lines = (" ".join(f"{ord(c):X}" for c in k) + "\t" + " ".join(f"{ord(c):X}" for c in v) for k, v in options.pop("rules").items())
            path = Path(folder) / "rules.tsv"
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
            options["normalization_rule_tsv"] = str(path)
        options = {"vocab_size": 500, "hard_vocab_limit": False, "max_sentencepiece_length": 12, **options}
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(x.replace("\n", " ") for x in texts.training(seed, count)), model_writer=out, num_threads=1, minloglevel=2, **options
        )
    model = pb.ModelProto.FromString(out.getvalue())
    model.normalizer_spec.ClearField("normalization_rule_tsv")  # where the rules were, on this machine
    return model.SerializeToString(deterministic=True)


PIECES = {
    "pieces_unigram": {"rules": RULES, "user_defined_symbols": ["<mask>", "人工智能", "The "], "control_symbols": ["<ctrl>"]},
    "pieces_unigram_bytes": {"normalization_rule_name": "identity", "byte_fallback": True, "remove_extra_whitespaces": False},
    "pieces_pairs": {
        "model_type": "bpe", "normalization_rule_name": "identity", "byte_fallback": True, "remove_extra_whitespaces": False, "split_digits": True,
        "allow_whitespace_only_pieces": True,
    },
    "pieces_pairs_symbols": {"model_type": "bpe", "rules": RULES, "user_defined_symbols": ["<mask>", "the", "的"], "control_symbols": ["<ctrl>"], "add_dummy_prefix": False},
    "pieces_suffix": {"model_type": "bpe", "rules": RULES, "treat_whitespace_as_suffix": True, "unk_surface": "?", "unk_piece": "[U]", "pad_id": 3},
    "pieces_words": {"model_type": "word", "rules": RULES, "use_all_vocab": True},
    "pieces_characters": {"model_type": "char", "rules": RULES, "user_defined_symbols": ["the"]},
}  # fmt: skip
LARGE_PIECES = {
    f"pieces_{kind}_{rules}{'_bytes' if bytes else ''}{'' if prefix else '_bare'}": {
        "model_type": kind, "normalization_rule_name": rules, "byte_fallback": bytes, "add_dummy_prefix": prefix, "vocab_size": 800,
        "user_defined_symbols": ["<u>", "▁▁"] if bytes else ["学习"], "remove_extra_whitespaces": not bytes, "split_by_unicode_script": prefix,
    }
    for kind in ("unigram", "bpe")
    for rules in ("nmt_nfkc", "nfkc", "nfkc_cf", "nmt_nfkc_cf", "identity")
    for bytes in (False, True)
    for prefix in (True, False)
}  # fmt: skip


def unused(model):
    """The model with every seventh normal piece marked as not used."""
    proto = pb.ModelProto.FromString(model)
    for i, piece in enumerate(proto.pieces):
        if piece.type == 1 and i % 7 == 0 and len(piece.piece) > 1:
            piece.type = 5
    return proto.SerializeToString()


def piece_cases(path, seed, count):
    p = sentencepiece.SentencePieceProcessor(model_file=str(path))
    special = [p.id_to_piece(i) for i in range(min(20, p.get_piece_size()))]
    out = []
    for text in texts.strings(seed, count, special):
        ids = p.encode(text)
        case, decoded = {"text": text, "ids": ids}, p.decode(ids)
        if decoded != text:
            case |= {"decoded": decoded, "skipped": decoded}
        out.append(case)
    named = {"bos_token": p.bos_id(), "eos_token": p.eos_id(), "unk_token": p.unk_id(), "pad_token": p.pad_id()}
    control = [i for i in range(p.get_piece_size()) if p.is_control(i)]
    return {"seed": seed, "size": p.get_piece_size(), "named": {k: v for k, v in named.items() if v >= 0}, "special": control, "cases": out}


def cases(t, special, seed, count):
    out = []
    for text in texts.strings(seed, count, special):
        ids = t.encode(text)
        case = {"text": text, "ids": ids}
        for key, skip in (("decoded", False), ("skipped", True)):
            decoded = t.decode(ids, skip_special_tokens=skip)
            if decoded != text:
                case[key] = decoded
        if (plain := t.encode(text, add_special_tokens=False)) != ids:
            case["plain"] = plain
        out.append(case)
    return out


def write(path, value):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        json.dump(value, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


MAKERS = [gpt2, gpt2_prefix, qwen2, llama3, o200k, deepseek, word_level, added, byte_fallback, affixes, prefixes, metaspace]
LATER_MAKERS = [
    unigram_t5, unigram_bytes, albert, xlm_roberta, t5, word_piece, bert, scripts, llama, llama_legacy, code_llama, gemma, gpt_neox, cohere, roberta,
]  # fmt: skip


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def tokenizer_fixtures(out, seed, count, kept=True):
    for index, maker in enumerate(MAKERS + LATER_MAKERS):
        folder = fresh(out / maker.__name__)
        tokenizer, config = maker()
        write(folder / "tokenizer.json", json.loads(tokenizer.to_str()))
        if model_type := config.pop("model_type", None):
            write(folder / "config.json", {"model_type": model_type})
        write(folder / "tokenizer_config.json", config)
        # The number of makers when the first fixtures were made keeps their seeds.
        finish(folder, seed + index + (1 if index >= len(MAKERS) else 0), count)
    # The files that came before tokenizer.json.
    folder = fresh(out / "gpt2_files")
    model = json.loads((out / "gpt2" / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    write(folder / "vocab.json", model["vocab"])
    lines = ["#version: 0.2"] + [" ".join(pair) for pair in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write(folder / "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "pad_token": "<pad>"})
    finish(folder, seed + len(MAKERS), count)
    # A vocabulary of BERT, with a line that is there twice and one that ends in white space.
    folder = fresh(out / "bert_words")
    vocab = json.loads((out / "bert" / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    words = sorted(vocab, key=vocab.get)
    (folder / "vocab.txt").write_text("\n".join(words[:9] + ["a \u3000\r", words[30]] + words[9:]) + "\n", encoding="utf-8", newline="\n")
    write(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "mask_token": "[M]"})
    finish(folder, seed + 100, count)
    for index, (name, options) in enumerate(PIECES.items() if kept else (PIECES | LARGE_PIECES).items()):
        folder = fresh(out / name)
        model = pieces(**options)
        (folder / "tokenizer.model").write_bytes(model)
        write(folder / "cases.json", piece_cases(folder / "tokenizer.model", seed + 200 + index, count))
        if name in ("pieces_pairs_symbols", "pieces_unigram"):
            folder = fresh(out / (name + "_unused"))
            (folder / "tokenizer.model").write_bytes(unused(model))
            write(folder / "cases.json", piece_cases(folder / "tokenizer.model", seed + 300 + index, count))


def special_ids(t):
    """What decoding leaves out goes by the text of the token."""
    special = {x.content for x in t.get_added_tokens_decoder().values() if x.special}
    return [i for i in range(t.get_vocab_size()) if t.id_to_token(i) in special]


def finish(folder, seed, count, path=None):
    t = transformers.AutoTokenizer.from_pretrained(path or folder)
    special = [token.content for token in t._tokenizer.get_added_tokens_decoder().values()][:40]
    special = [content for content in special if content != "<FILL_ME>"]  # where Code Llama rearranges the whole prompt
    out = cases(t, special, seed, count)
    named = {role: t.convert_tokens_to_ids(token) for role, token in t.special_tokens_map.items() if isinstance(token, str)}
    extra = {"path": str(path)} if path else {}
    write(folder / "cases.json", {"seed": seed, "size": len(t), "named": named, "special": special_ids(t._tokenizer), "cases": out} | extra)


def random_pipeline(r, rules):
    """A tokenizer of parts that nobody would put together."""
    vocabulary = [{w: i for i, w in enumerate(dict.fromkeys(["<unk>", "<s>", "</s>", *WORDS]))}]
    kind = r.choice(["BPE", "Unigram", "Unigram", "WordPiece", "WordLevel"])
    if kind == "BPE":
        model = byte_fallback()[0] if r.random() < 0.5 else gpt2()[0] if r.random() < 0.5 else metaspace()[0]
        t = Tokenizer(model.model)
    elif kind == "Unigram":
        words = list(vocabulary[0]) + ([f"<0x{b:02X}>" for b in range(256)] if r.random() < 0.4 else [])
        t = Tokenizer(models.Unigram([(w, -r.choice([1.0, 2.0, r.random() * 9])) for w in words], r.choice([0, 0, 5]), r.random() < 0.5))
    elif kind == "WordPiece":
        prefix = r.choice(["##", "@", "▁", ""])
        words = dict.fromkeys([*vocabulary[0], *(prefix + w for w in vocabulary[0])])
        t = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="<unk>", continuing_subword_prefix=prefix, max_input_chars_per_word=r.choice([3, 8, 100])))
    else:
        t = Tokenizer(models.WordLevel(vocabulary[0], unk_token="<unk>"))

    def flag():
        return r.random() < 0.5

    normal = [
        normalizers.NFC, normalizers.NFD, normalizers.NFKC, normalizers.NFKD, normalizers.Lowercase, normalizers.StripAccents, normalizers.Nmt,
        lambda: normalizers.Strip(flag(), flag()), lambda: normalizers.Replace(" ", "▁"), lambda: normalizers.Replace(Regex(r"\s+"), " "),
        lambda: normalizers.Replace("e", ""), lambda: normalizers.Prepend(r.choice(["▁", "x"])), lambda: normalizers.Precompiled(r.choice(rules)),
        lambda: normalizers.Precompiled(r.choice(rules)), lambda: normalizers.BertNormalizer(flag(), flag(), r.choice([None, True, False]), flag()), normalizers.ByteLevel,
    ]  # fmt: skip
    behaviors = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
    cuts = [
        lambda: pre_tokenizers.ByteLevel(flag(), use_regex=flag()), pre_tokenizers.Whitespace, pre_tokenizers.WhitespaceSplit, pre_tokenizers.BertPreTokenizer,
        pre_tokenizers.UnicodeScripts, lambda: pre_tokenizers.FixedLength(r.randrange(1, 6)), lambda: pre_tokenizers.Digits(flag()),
        lambda: pre_tokenizers.Punctuation(r.choice(behaviors)), lambda: pre_tokenizers.CharDelimiterSplit(r.choice("a▁ ")),
        lambda: pre_tokenizers.Metaspace(r.choice("▁_"), r.choice(["first", "always", "never"]), flag()),
        lambda: pre_tokenizers.Metaspace(prepend_scheme="first", split=flag()), lambda: split(r.choice([QWEN2, O200K, r"\p{L}+", r"\s"]), r.choice(behaviors), flag()),
        lambda: pre_tokenizers.Split(r.choice([" ", "the", "。"]), r.choice(behaviors), flag()),
    ]  # fmt: skip
    joins = [
        decoders.ByteLevel, lambda: decoders.WordPiece(r.choice(["##", "@", ""]), flag()), lambda: decoders.Metaspace(r.choice("▁_"), r.choice(["first", "always", "never"])),
        decoders.ByteFallback, decoders.Fuse, lambda: decoders.Replace(r.choice(["▁", "a ", " "]), r.choice([" ", "", "ab"])), lambda: decoders.CTC("<s>", "▁", flag()),
        lambda: decoders.BPEDecoder("e"), lambda: decoders.Strip(r.choice(" a"), r.randrange(3), 0),
    ]  # fmt: skip
    if n := r.randrange(4):
        t.normalizer = normalizers.Sequence([r.choice(normal)() for _ in range(n)])
    if n := r.randrange(4):
        t.pre_tokenizer = pre_tokenizers.Sequence([r.choice(cuts)() for _ in range(n)])
    if n := r.randrange(4):
        t.decoder = decoders.Sequence([r.choice(joins)() for _ in range(n)])
    if flag():
        t.post_processor = processors.TemplateProcessing(single=r.choice(["<s> $A", "$A </s>", "<s> $A $A </s> </s>"]), special_tokens=[("<s>", 1), ("</s>", 2)])
    for content in r.sample(["<s>", "</s>", "[X]", "É", " the", "你好", "a", "<|x|>", "ﬁ", "▁a"], r.randrange(6)):
        t.add_tokens([AddedToken(content, single_word=flag(), lstrip=flag(), rstrip=flag(), normalized=flag(), special=flag())])
    return t, {"tokenizer_class": "PreTrainedTokenizerFast", "split_special_tokens": r.random() < 0.2, "clean_up_tokenization_spaces": flag()}


WORDS = sorted(set("".join(texts.SUBJECTS + texts.VERBS + texts.OBJECTS + texts.ZH_OBJECTS))) + [
    *"abcdefghijklmnopqrstuvwxyz0123456789.,!?▁_Ġ你好世界的é", "the", "▁the", "▁a", "ing", "▁▁", " the", "el", "ll", "str", "model", "▁model", "ä½", "人工", "智能",
    "語言", "e\u0301", "fi", "ar", "nin", "學習", "学习", "▁学习", "  ", "ab", "__", "▁0", "12", "123", "</w>", "'s", "n't",
]  # fmt: skip


def sweep(out, seed, count, given):
    import random

    rules = [compile_rules(RULES)]
    for name in ("nmt_nfkc", "nfkc", "nfkc_cf", "nmt_nfkc_cf"):
        rules.append(pb.ModelProto.FromString(pieces(normalization_rule_name=name)).normalizer_spec.precompiled_charsmap)
    for index in range(RANDOM):
        r = random.Random(seed * 1000 + index)
        folder = fresh(out / f"random_{index}")
        while True:
            try:
                tokenizer, config = random_pipeline(r, rules)
                write(folder / "tokenizer.json", json.loads(tokenizer.to_str()))
                write(folder / "tokenizer_config.json", config)
                finish(folder, seed * 1000 + index, max(1, count // 10))
                break
            except BaseException as error:  # parts that tokenizers itself refuses or trips over
                if isinstance(error, KeyboardInterrupt):
                    raise
    tokenizer_fixtures(out, seed, count, kept=False)
    for index, path in enumerate(map(Path, given)):
        folder = fresh(out / f"given_{index}_{path.parent.name}_{path.name}")
        if path.suffix == ".model":
            write(folder / "cases.json", piece_cases(path, seed + 400 + index, count) | {"path": str(path)})
        elif path.suffix == ".txt":
            shutil.copy(path, folder / "vocab.txt")
            write(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": index % 2 == 0})
            finish(folder, seed + 400 + index, count)
        else:
            finish(folder, seed + 400 + index, count, path)


def parts():
    """Single steps by their JSON, with inputs and outputs."""
    behaviors = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
    cutters = [split(p, b, i) for b in behaviors for i in (False, True) for p in (r"\s+|,", r"\p{Lu}|", r"(?<=a)\d*")]
    cutters += [pre_tokenizers.Split("a ", b, False) for b in behaviors]
    cutters += [split(p) for p in (QWEN2, LLAMA3, O200K, *DEEPSEEK, KIMI, r"\w+", r"[^\w]+", r"\b", r"\S+\h", r"[[:alpha:]]+", r"\p{N}{1,3}+", r"(?i)[k-s]+", r"^.", r".$", r"(?m:a.)", r"\x{4e00}|\x41|\v")]
    cutters += [pre_tokenizers.Digits(False), pre_tokenizers.Digits(True), pre_tokenizers.Whitespace(), pre_tokenizers.WhitespaceSplit(), pre_tokenizers.CharDelimiterSplit("a")]
    cutters += [pre_tokenizers.Punctuation(b) for b in behaviors]
    cutters += [pre_tokenizers.Metaspace(prepend_scheme=s, split=x) for s in ("always", "first", "never") for x in (True, False)]
    cutters += [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.UnicodeScripts(), pre_tokenizers.FixedLength(1), pre_tokenizers.FixedLength(4)]
    cutters += [pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="first")])]
    cutters += [pre_tokenizers.Sequence([pre_tokenizers.ByteLevel(add_prefix_space=True), pre_tokenizers.Digits(True)])]
    changers = [normalizers.NFC(), normalizers.NFD(), normalizers.NFKC(), normalizers.NFKD(), normalizers.Lowercase(), normalizers.StripAccents(),
                normalizers.Strip(True, False), normalizers.Strip(False, True), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Replace("a", "<b>"), normalizers.Prepend("_")]
    changers += [charsmap(), normalizers.Nmt(), normalizers.ByteLevel()]
    changers += [normalizers.BertNormalizer(*flags) for flags in itertools.product([True, False], [True, False], [True, False, None], [True, False])]
    joiners = [decoders.CTC(), decoders.CTC("a", "b", False), decoders.ByteLevel(), decoders.ByteFallback(), decoders.Fuse(), decoders.WordPiece("##", True), decoders.WordPiece("##", False), decoders.BPEDecoder("</w>"),
               decoders.Metaspace(), decoders.Metaspace(prepend_scheme="never"), decoders.Replace("▁", " "), decoders.Replace(Regex(r"\s+"), "-"), decoders.Strip("a", 2, 1),
               decoders.Sequence([decoders.Fuse(), decoders.Replace("a b", "c")]), decoders.Sequence([decoders.Fuse(), decoders.Strip(" ", 2, 3)]), decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.ByteLevel()])]
    tokens = ["a", " ", "a b", "▁", "▁the", "##ing", "</w>", "end</w>", "<0xE4>", "<0xBD>", "<0xA0>", "<0xZZ>", "<0x4>", "Ġ", "Ã©", "ä½", "ł", " .", " n't", "你", "aa", "b", " do not", "", "  ", "##\u0301", "<pad>", "|", "x<pad>|"]

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
    # What the package makes of numbers in JSON; scores are read so.
    numbers = [-r.random() * 10 ** r.randrange(-12, 3) for _ in range(150)] + [float(x) for x in (-3, 0, 1e16, -2.5, 1e-310, -0.1)]
    model = {"type": "Unigram", "unk_id": 0, "vocab": [[str(i), x] for i, x in enumerate(numbers)]}
    read = json.loads(Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "model": model})).to_str())["model"]["vocab"]
    out["numbers"] = [[x, y] for x, (_, y) in zip(numbers, read)]
    assert any(x != y for x, y in out["numbers"])
    write(HERE / "parts.json", out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--sweep", type=int, metavar="TEXTS")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path)
    parser.add_argument("given", nargs="*")
    options = parser.parse_args()
    if options.sweep:
        sweep(options.out, options.seed, options.sweep, options.given)
        sys.exit()
    tokenizer_fixtures(HERE, SEED, COUNT)
    parts()
    versions = {"tokenizers": tokenizers.__version__, "transformers": transformers.__version__, "sentencepiece": sentencepiece.__version__}
    write(HERE / "versions.json", versions | {"python": sys.version.split()[0], "seed": SEED})
