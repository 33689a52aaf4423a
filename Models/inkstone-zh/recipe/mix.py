#!/usr/bin/env python3
"""One corpus of the prepared documents: mix.py first|wide DOCUMENTS OUT.jsonl

What the model is for comes often, the rest gives it language; the order is shuffled with a fixed seed.
"""

import random
import sys

# Documents by name: how often each is taken, and every how many of them one is.
MIXTURES = {
    "first": {
        "primer": (12, 1),
        "ai": (1, 1),
        "questions": (1, 1),
        "stories": (1, 1),
        "java": (1, 2),
        "law": (1, 12),
        "classics": (1, 12),
    },
    "wide": {
        "primer": (8, 1),
        "ai": (2, 1),
        "questions": (1, 1),
        "stories": (1, 1),
        "java": (1, 1),
        "law": (1, 4),
        "classics": (1, 4),
    },
}


def main() -> None:
    mixture, folder, out = sys.argv[1:]
    lines: list[str] = []
    for name, (times, step) in MIXTURES[mixture].items():
        with open(f"{folder}/{name}.jsonl", encoding="utf-8") as file:
            lines += file.read().splitlines()[::step] * times
    random.Random(1).shuffle(lines)
    with open(out, "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)


main()
