"""Repetition, self-BLEU and copying of small sets of texts, by nltk and by brute force, for EvaluationTests.

The texts are drawn by a seeded generator from a few words, so that n-grams repeat within a text, between texts, and
between the texts and a longer one.
"""

import json
import random
import sys
import unicodedata
from pathlib import Path

import nltk
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

HERE = Path(__file__).parent
SEED = 20261128
HAN = ["人工智能", "学习", "模型", "是", "的", "数据", "机器", "，", "。", "语言"]
LATIN = ["the ", "model ", "learns ", "a ", "word, ", "GPT-2 ", "is ", "on 12 cores. ", "don't ", "\n"]
ODD = ["カナ", "é", "e\u0301t ", "한국어 ", "😀", "\u3000", "\t", "“", "”", "x_y ", "½ ", "\u200b", "々", "\ufffd"]


def text(r, size):
    words = r.choice([HAN, LATIN, HAN + LATIN, HAN + LATIN + ODD])
    return "".join(r.choice(words) for _ in range(size))


def units(text):
    """Words and single characters, as TextUnits has them, by a second hand."""
    out, word = [], ""
    for c in text:
        category, code = unicodedata.category(c), ord(c)
        kana = 0x3040 <= code <= 0x30FF or 0x31F0 <= code <= 0x31FF
        # Of the ideographs these texts hold two kinds: unified ones and 々.
        ideograph = 0x4E00 <= code <= 0x9FFF or c == "々"
        if category[0] in "LMN" and not kana and not ideograph:
            word += c
            continue
        if word:
            out.append(word)
        word = ""
        if category[0] not in "ZC":
            out.append(c)
    return out + [word] if word else out


def grams(tokens, n):
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def diversity(texts):
    tokens = [units(t) for t in texts]
    distinct = []
    for n in range(1, 5):
        every = [g for t in tokens for g in grams(t, n)]
        distinct.append(len(set(every)) / len(every) if every else None)
    repeated = [1 - len(set(g)) / len(g) for t in tokens if (g := grams(t, 4))]
    smooth = SmoothingFunction().method1
    bleu = None
    if len(tokens) > 1:
        # nltk itself sums floats with fsum; the mean is ours.
        scores = [
            sentence_bleu(tokens[:i] + tokens[i + 1 :], t, smoothing_function=smooth) if t else 0.0
            for i, t in enumerate(tokens)
        ]
        bleu = sum(scores) / len(scores)
    return {
        "units": tokens,
        "distinct": distinct,
        "repetition": sum(repeated) / len(repeated) if repeated else None,
        "self_bleu": bleu,
    }


def overlap(texts, documents, size):
    """The longest common part and the share of n-grams, by looking for every part."""
    strip = lambda t: "".join(c for c in t if not c.isspace())
    documents = [strip(d) for d in documents]
    results = []
    for t in map(strip, texts):
        longest = ""
        for start in range(len(t)):
            while start + len(longest) < len(t) and any(t[start : start + len(longest) + 1] in d for d in documents):
                longest = t[start : start + len(longest) + 1]
        pieces = ["".join(g) for g in grams(t, size)]
        found = sum(any(p in d for d in documents) for p in pieces)
        results.append({"length": len(t), "longest": longest, "share": found / len(pieces) if pieces else None})
    return results


def main():
    r = random.Random(SEED)
    sets = []
    for size, longest in [(1, 20), (2, 12), (3, 40), (5, 30), (8, 60), (12, 25), (4, 3), (6, 80)]:
        texts = [text(r, r.randint(1, longest)) for _ in range(size)]
        if size == 8:
            texts[3] = texts[5]
            texts[6] = ""
        # Documents made of parts of the texts and of other words.
        documents = []
        for _ in range(4):
            parts = []
            for _ in range(r.randint(1, 8)):
                t = r.choice(texts)
                start = r.randint(0, len(t))
                parts.append(t[start : start + r.randint(1, 50)] if r.random() < 0.7 else text(r, r.randint(1, 10)))
            documents.append("".join(parts))
        gram = r.choice([1, 2, 4, 8, 20])
        sets.append(
            {"texts": texts, "documents": documents, "gram": gram, **diversity(texts),
             "overlap": overlap(texts, documents, gram)}
        )
    out = {"seed": SEED, "versions": {"python": sys.version.split()[0], "nltk": nltk.__version__}, "sets": sets}
    (HERE / "samples.json").write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n")


main()
