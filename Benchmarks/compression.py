#!/usr/bin/env python3
"""Bits per byte of a held-out text by means that a language model must beat: gzip, xz, and a 5-gram model of characters.

  python3 Benchmarks/compression.py --test held-out.jsonl --train train.jsonl
  python3 Benchmarks/compression.py --test held-out.jsonl --train train.jsonl --json
  python3 Benchmarks/compression.py --check

Files are text, or JSON lines with a document in "text" of each line. inkstone eval --text held-out=held-out.jsonl gives
the model's figure on the same bytes: those of the documents, without the line ends between them.

gzip and xz compress the test text at their best setting, alone, and xz also behind the training text, of which it may
then copy (its window holds 64 MiB). Between documents stands a line feed, whose bits count for the compressors.

The n-gram model is interpolated modified Kneser-Ney (Chen and Goodman 1998, TR-10-98, section 3.4): three discounts of each
order from its counts of counts, continuation counts below the highest order, the uniform distribution over all code points
below the lowest. It starts anew with each document. Only contexts that the test text has are kept, so memory stays small.
--check shows that the probabilities of every context sum to 1. Needs Python 3.8 and nothing else.
"""

import argparse
import gzip
import json
import lzma
import math
import sys
from collections import Counter, defaultdict

BEGIN = "\ue000"  # Stands before a document; private use, so that no text has it.
CODE_POINTS = 0x110000 - 0x800


def documents(path):
    """The texts of a file."""
    opened = gzip.open(path, "rt", encoding="utf-8") if path.endswith(".gz") else open(path, encoding="utf-8")
    name = path[:-3] if path.endswith(".gz") else path
    with opened as file:
        if not name.endswith((".jsonl", ".ndjson")):
            yield file.read()
            return
        for number, line in enumerate(file, 1):
            if line.strip():
                record = json.loads(line)
                if not isinstance(record, dict) or not isinstance(record.get("text"), str):
                    raise SystemExit(f'compression.py: {path}, line {number}: needs a text in "text"')
                yield record["text"]


class KneserNey:
    """An interpolated modified Kneser-Ney model of characters."""

    def __init__(self, order):
        self.order = order

    def train(self, texts, test):
        """Counts what the test text's contexts need."""
        order = self.order
        # contexts[n]: the strings of n characters before a character of the test text.
        contexts = [set() for _ in range(order)]
        for text in test:
            padded = BEGIN * (order - 1) + text
            for end in range(order - 1, len(padded)):
                for n in range(order):
                    contexts[n].add(padded[end - n : end])
        # The highest order counts occurrences, the others how many different characters stand before an n-gram.
        highest = Counter()
        before = [set() for _ in range(order)]
        for text in texts:
            padded = BEGIN * (order - 1) + text
            for end in range(order - 1, len(padded)):
                if padded[end - order + 1 : end] in contexts[order - 1]:
                    highest[padded[end - order + 1 : end + 1]] += 1
                for n in range(order - 1):
                    # The n-gram of n + 1 characters that ends here, with the character before it.
                    if padded[end - n : end] in contexts[n]:
                        before[n].add(padded[end - n - 1 : end + 1])
        counts = [Counter(gram[1:] for gram in grams) for grams in before[: order - 1]] + [highest]
        del before
        self.discounts = [self.discounts_of(c) for c in counts]
        self.counts = counts
        # Of each context: the sum of its counts, and how many of its n-grams have 1, 2, and 3 or more.
        self.sums = []
        for n in range(order):
            sums = defaultdict(lambda: [0, 0, 0, 0])
            for gram, count in counts[n].items():
                entry = sums[gram[:-1]]
                entry[0] += count
                entry[min(count, 3)] += 1
            self.sums.append(dict(sums))
        return self

    @staticmethod
    def discounts_of(counts):
        """D1, D2 and D3+ from the counts of counts; absolute discounting by 1/2 where those are too few."""
        n = [0] * 5
        for count in counts.values():
            if count <= 4:
                n[count] += 1
        if 0 in n[1:]:
            return (0.0, 0.5, 0.5, 0.5)
        y = n[1] / (n[1] + 2 * n[2])
        found = (0.0, 1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3])
        return found if all(0 <= d <= k for k, d in enumerate(found)) else (0.0, 0.5, 0.5, 0.5)

    def probability(self, context, character):
        """p(character | the last order − 1 characters)."""
        p = 1 / CODE_POINTS
        for n in range(self.order):
            entry = self.sums[n].get(context[len(context) - n :])
            if entry is None:
                # A longer context that was never seen says nothing more.
                break
            d = self.discounts[n]
            count = self.counts[n].get(context[len(context) - n :] + character, 0)
            kept = count - d[min(count, 3)]
            rest = d[1] * entry[1] + d[2] * entry[2] + d[3] * entry[3]
            p = (kept + rest * p) / entry[0]
        return p

    def bits(self, texts):
        """Σ −log₂ p over the characters of texts."""
        total = 0.0
        for text in texts:
            padded = BEGIN * (self.order - 1) + text
            for end in range(self.order - 1, len(padded)):
                total -= math.log2(self.probability(padded[end - self.order + 1 : end], padded[end]))
        return total


def check():
    """Probabilities of a context sum to 1: those of all characters seen, and of one unseen for all the rest."""
    train = ["人工智能是一门学科。", "人工智能的发展，人工智能的未来。", "abracadabra, 学科的发展 " * 3, "的的的" * 5]
    test = ["人工智能的学科是未来的发展。", "abra的cad", "没有见过。"]
    model = KneserNey(5).train(train, test)
    seen = {c for text in train for c in text}
    contexts = set()
    for text in test:
        padded = BEGIN * 4 + text
        contexts |= {padded[i : i + 4] for i in range(len(text))}
    for context in contexts:
        total = sum(model.probability(context, c) for c in seen)
        total += (CODE_POINTS - len(seen)) * model.probability(context, "\U0010fffd")
        if abs(total - 1) > 1e-9:
            raise SystemExit(f"compression.py: the probabilities after {context!r} sum to {total}")
    print(f"{len(contexts)} contexts: probabilities sum to 1")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test", nargs="+", metavar="FILE", help="the held-out text")
    parser.add_argument("--train", nargs="+", metavar="FILE", default=[], help="what the n-gram model learns from")
    parser.add_argument("--order", type=int, default=5, help="characters of an n-gram (5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="check the n-gram model and end")
    options = parser.parse_args()
    if options.check:
        return check()
    if not options.test:
        parser.error("--test is missing")
    if options.order < 1:
        parser.error("--order must be 1 or more")
    test = [text for path in options.test for text in documents(path) if text]
    train = [text for path in options.train for text in documents(path)]
    size = sum(len(text.encode()) for text in test)
    if size == 0:
        raise SystemExit("compression.py: the test text is empty")
    joined = "\n".join(test).encode()
    xz = lambda data: len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))
    results = {"gzip": 8 * len(gzip.compress(joined, 9)) / size, "xz": 8 * xz(joined) / size}
    if train:
        before = "\n".join(train).encode() + b"\n"
        results["xz after the training text"] = 8 * (xz(before + joined) - xz(before)) / size
        model = KneserNey(options.order).train(train, test)
        results[f"{options.order}-gram"] = model.bits(test) / size
    if options.json:
        print(json.dumps({"bytes": size, "documents": len(test), "bits_per_byte": results}))
        return
    print(f"{'':28}bits/byte")
    for name, value in results.items():
        print(f"{name:28}{value:9.4f}")
    print(f"{size} bytes in {len(test)} documents", file=sys.stderr)


main()
