"""Hugging Face tokenizers: learns a byte-level BPE from a text, as `inkstone tokenizer train` does."""

from __future__ import annotations

import argparse
import sys
import time

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers


def main() -> None:
    """Prints the seconds from the text to the tokenizer's file, without Python and its imports."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--text", required=True)
    parser.add_argument("--vocabulary", type=int, required=True)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()

    begin = time.perf_counter()
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train([arguments.text], trainers.BpeTrainer(
        vocab_size=arguments.vocabulary, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))  # fmt: skip
    tokenizer.save(arguments.out)
    print(time.perf_counter() - begin)
    print(f"tokenizers {tokenizers.__version__}", file=sys.stderr)


if __name__ == "__main__":
    main()
