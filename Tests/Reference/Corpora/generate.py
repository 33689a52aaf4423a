"""What tokenizers learns from small texts, and what datasketch and numpy find in them, for CorporaTests and TokenizersTests.

Texts are made from words of a seeded generator, so that nobody's text is kept; ties of counts abound.
"""

import gzip
import json
import random
import sys
from pathlib import Path

import datasketch
import numpy
import tokenizers
from datasketch import MinHash, MinHashLSH
from datasketch.lsh import _optimal_param
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = Path(__file__).parent
SEED = 20261124
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def text(seed, size):
    """Latin and Chinese words, numbers, runs, odd spaces and line ends."""
    r = random.Random(seed)
    latin = ["".join(r.choice("etaoinshrdlu") for _ in range(r.randint(1, 9))) for _ in range(80)]
    han = ["".join(r.choice("人工智能学习模型数据语言神经网络的是在了和有") for _ in range(r.randint(1, 4))) for _ in range(60)]
    odd = ["don't", "I'LL", "we've", "----", "....", "=====", "aaaaaaa", "ababab", "2026", "1,234.5", "É", "e\u0301", "\u3000", "😀👍🏽", "\t", "  ", "\r\n", "\n\n", "\n", "ſ", "x_y", "\x00"]
    out = []
    while sum(map(len, out)) < size:
        kind = r.random()
        if kind < 0.5:
            out.append(" " + r.choice(latin))
        elif kind < 0.75:
            out.append("".join(r.choice(han) for _ in range(r.randint(1, 5))) + r.choice(["，", "。", "", "\n"]))
        else:
            out.append(r.choice(odd))
    return "".join(out)


def training():
    path = HERE / "text.txt"
    path.write_bytes(text(SEED, 9000).encode())
    cases = [
        ("gpt2", dict(vocab_size=600, special_tokens=["<|endoftext|>"])),
        ("gpt2", dict(vocab_size=500, special_tokens=["<s>", "</s>", "aa"], min_frequency=3)),
        ("gpt2", dict(vocab_size=900, special_tokens=[], max_token_length=6)),
        ("gpt2", dict(vocab_size=420, special_tokens=["a", "in"], prefix_space=True)),
        ("qwen2", dict(vocab_size=560, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"])),
        ("llama3", dict(vocab_size=560, special_tokens=["<|endoftext|>"], min_frequency=2)),
        (r"\p{Han}{1,2}|[a-z]+", dict(vocab_size=460, special_tokens=["<|endoftext|>"])),
        ("gpt2", dict(vocab_size=4000, special_tokens=["<|endoftext|>"], seen_bytes=True, min_frequency=2)),
    ]
    out = []
    for pattern, settings in cases:
        settings = dict(settings)
        prefix, seen = settings.pop("prefix_space", False), settings.pop("seen_bytes", False)
        tokenizer = Tokenizer(models.BPE())
        if pattern == "gpt2":
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
        else:
            regex = {"qwen2": QWEN2, "llama3": LLAMA3}.get(pattern, pattern)
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = [] if seen else pre_tokenizers.ByteLevel.alphabet()
        tokenizer.train([str(path)], trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False, **settings))
        whole = path.read_bytes().decode()
        out.append({"pattern": pattern, "prefix_space": prefix, "seen_bytes": seen, **settings, "tokenizer": json.loads(tokenizer.to_str()), "ids": tokenizer.encode(whole, add_special_tokens=False).ids})
    # As one sequence: words reach over line ends.
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator([whole], trainers.BpeTrainer(vocab_size=600, special_tokens=[], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return {"files": out, "whole": json.loads(tokenizer.to_str())["model"]["merges"]}


def near_duplicates(seed, count):
    r = random.Random(seed)
    documents = []
    while len(documents) < count:
        base = text(r.randrange(1 << 30), r.choice([3, 30, 120, 300])).replace("\n", " ").replace("\r", " ").replace("\x00", "")
        for _ in range(r.randint(1, 4)):
            characters = list(base)
            for _ in range(int(len(characters) * r.choice([0, 0, 0.004, 0.02, 0.05]))):
                characters[r.randrange(len(characters))] = r.choice("xyz人工")
            if "".join(characters).strip():
                documents.append("".join(characters))
    r.shuffle(documents)
    return documents


def sketch(document, shingle, **settings):
    sketch = MinHash(**settings)
    sketch.update_batch([document[i : i + shingle].encode() for i in range(max(1, len(document) - shingle + 1))])
    return sketch


def clusters(documents, threshold, shingle, **settings):
    index = MinHashLSH(threshold=threshold, num_perm=settings["num_perm"])
    sketches = [sketch(document, shingle, **settings) for document in documents]
    for number, found in enumerate(sketches):
        index.insert(number, found)
    parents = list(range(len(documents)))

    def root(x):
        while parents[x] != x:
            x = parents[x]
        return x

    for number, found in enumerate(sketches):
        for other in index.query(found):
            a, b = root(number), root(other)
            parents[max(a, b)] = min(a, b)
    members = {}
    for number in range(len(documents)):
        members.setdefault(root(number), []).append(number)
    return sorted(cluster for cluster in members.values() if len(cluster) > 1)


def deduplication():
    documents = near_duplicates(SEED, 120)
    cases = []
    for threshold, shingle, permutations, seed, scheme in [(0.8, 5, 128, 1, "affine32"), (0.8, 5, 128, 1, "legacy"), (0.5, 3, 100, 42, "affine32"), (0.9, 9, 64, 7, "legacy"), (0.7, 5, 256, 4294967295, "affine32")]:
        settings = dict(num_perm=permutations, seed=seed, scheme=scheme)
        cases.append({"threshold": threshold, "shingle": shingle, "permutations": permutations, "seed": seed, "scheme": scheme, "clusters": clusters(documents, threshold, shingle, **settings), "signatures": [[int(x) for x in sketch(documents[i], shingle, **settings).hashvalues] for i in (0, 1)]})
    assert all(case["clusters"] for case in cases)
    bands = [[t, n, *_optimal_param(t, n, 0.5, 0.5)] for t in (0.1, 0.25, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95) for n in (2, 16, 32, 64, 100, 128, 200, 256)]
    draws = numpy.random.RandomState(5489)
    return {"documents": documents, "cases": cases, "bands": bands, "draws": [int(x) for x in draws.randint(0, 1 << 32, 700, dtype=numpy.uint32)[-6:]]}


def write(name, value):
    (HERE / name).write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    write("training.json", training())
    write("deduplication.json", deduplication())
    (HERE / "text.txt.gz").write_bytes(gzip.compress((HERE / "text.txt").read_bytes(), mtime=0))
    write("versions.json", {"tokenizers": tokenizers.__version__, "datasketch": datasketch.__version__, "numpy": numpy.__version__, "python": sys.version.split()[0], "seed": SEED})
