#!/usr/bin/env python3
"""Two models in one, weight by weight: average.py FIRST SECOND SHARE OUT

Takes SHARE of the second model and the rest of the first. Both are folders of the same shape, their weights float32 in one
safetensors file each; OUT gets the first one's other files.

No run sees the marks of conversations, and weight decay leaves one and the same embedding to all tokens that are never seen. An
adapter could not tell the end of an answer from them, so each mark gets a random part of its own, about as long as the embedding
of a common token.
"""

import json
import math
import random
import shutil
import struct
import sys
from array import array
from pathlib import Path

MARKS = ("<|im_start|>", "<|im_end|>")
OWN_LENGTH = 0.9


def read(folder: Path) -> tuple[bytes, array]:
    data = (folder / "model.safetensors").read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    weights = array("f")
    weights.frombytes(data[start:])
    if sys.byteorder == "big":
        weights.byteswap()
    return data[:start], weights


def tell_marks_apart(folder: Path, header: bytes, weights: array) -> None:
    tensor = json.loads(header[8:])["model.embed_tokens.weight"]
    width, first = tensor["shape"][1], tensor["data_offsets"][0] // 4
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    generator = random.Random(1)
    for token in tokenizer["added_tokens"]:
        if token["content"] in MARKS:
            place = first + token["id"] * width
            for index in range(place, place + width):
                weights[index] += generator.gauss(0, OWN_LENGTH / math.sqrt(width))


def main() -> None:
    first, second, share, out = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    (header, a), (other, b) = read(first), read(second)
    if header != other or b'"F32"' not in header or b'F16"' in header:
        raise SystemExit(f"average.py: {first} and {second} are not two float32 models of one shape")
    mean = array("f", ((1 - share) * x + share * y for x, y in zip(a, b)))
    tell_marks_apart(first, header, mean)
    if sys.byteorder == "big":
        mean.byteswap()
    shutil.copytree(first, out)
    (out / "model.safetensors").write_bytes(header + mean.tobytes())


main()
