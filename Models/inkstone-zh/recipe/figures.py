#!/usr/bin/env python3
"""The model card's figures: figures.py EVAL.json COMPRESSION.json CARD.md

Puts what inkstone eval --json and Benchmarks/compression.py --json say between the card's markers, with the sample of each
prompt that copies least and the one that copies most.
"""

import json
import sys

OPENING, CLOSING = "<!-- figures: written by recipe/figures.py -->", "<!-- end of figures -->"


def line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def render(evaluation: dict, compression: dict) -> str:
    out = ["### Held-out text", ""]
    out += ["| bits per byte | of the same documents |", "|---|---:|"]
    for text in evaluation["texts"]:
        out.append(f"| **inkstone-zh** (perplexity {text['perplexity']:.1f}) | **{text['bits_per_byte']:.3f}** |")
    for name, bits in compression["bits_per_byte"].items():
        out.append(f"| {name} | {bits:.3f} |")
    out += ["", f"{compression['documents']} documents, {compression['bytes']:,} bytes, each predicted by itself.", ""]

    samples = evaluation["samples"]
    out += ["### Samples", "", f"{samples['count']} samples, temperature 0.8, top-p 0.95, at most 100 tokens:", ""]
    out += ["| | |", "|---|---:|"]
    for size, value in enumerate(samples["distinct"], 1):
        out.append(f"| distinct-{size} | {value:.3f} |")
    gram = samples["gram"]
    out += [
        f"| repetition (4-grams within a sample) | {samples['repetition']:.3f} |",
        f"| self-BLEU | {samples['self_bleu']:.3f} |",
        f"| samples that end in a loop | {samples['loop_rate']:.1%} |",
        f"| samples with broken characters | {samples['broken_rate']:.1%} |",
        f"| {gram}-grams of characters that stand verbatim in the training text | {samples['verbatim_share']:.1%} |",
        f"| longest copy | {samples['longest_match']} characters |",
        "",
    ]
    by_prompt: dict[str, list[dict]] = {}
    for sample in samples["texts"]:
        by_prompt.setdefault(sample["prompt"], []).append(sample)
    out += ["The sample of each prompt that copies least, and how much of the other ones is copied:", ""]
    out += ["| prompt | sample | copied | of the one that copies most |", "|---|---|---:|---:|"]
    for prompt, texts in by_prompt.items():
        texts.sort(key=lambda sample: (sample["verbatim_share"] or 0, sample["text"]))
        shares = [f"{texts[end]['verbatim_share'] or 0:.0%}" for end in (0, -1)]
        out.append(f"| {line(prompt)} | {line(texts[0]['text'])} | {shares[0]} | {shares[1]} |")
    return "\n".join(out) + "\n"


def main() -> None:
    evaluation, compression, path = sys.argv[1:]
    with open(evaluation, encoding="utf-8") as file:
        first = json.load(file)
    with open(compression, encoding="utf-8") as file:
        second = json.load(file)
    with open(path, encoding="utf-8") as file:
        card = file.read()
    if OPENING not in card or CLOSING not in card:
        raise SystemExit(f"figures.py: {path} has no place for the figures: {OPENING} and {CLOSING}")
    before, rest = card.split(OPENING, 1)
    after = rest.split(CLOSING, 1)[1]
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{OPENING}\n{render(first, second)}{CLOSING}{after}")


main()
