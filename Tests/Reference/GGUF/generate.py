"""Blocks of GGML's quantised types and what gguf-py makes of them: `blocks.safetensors`.

For each type that is decoded: `TYPE.blocks` (bytes) and `TYPE.values` (what `gguf.quants.dequantize` gives). Blocks are
random, some with extreme scales: zero, subnormal, largest, infinite, NaN. For each type that is encoded: `TYPE.input`
and `TYPE.output` (`gguf.quants.quantize`).

    python Tests/Reference/GGUF/generate.py

gguf 0.19.0, numpy 2.4, safetensors; seed 20240607.
"""

import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

SEED = 20240607
HALVES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E01]
# Where the binary16 numbers of a block are.
DECODED = {
    "F16": [0], "BF16": [], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "IQ4_NL": [0], "IQ4_XS": [0], "TQ1_0": [52], "TQ2_0": [64], "MXFP4": [], "NVFP4": [],
}
ENCODED = ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]


def decoded(name, halves, random):
    kind = Type[name]
    block, size = GGML_QUANT_SIZES[kind]
    count = 512 if block == 1 else max(8, 512 // block)
    blocks = random.integers(0, 256, (count + len(HALVES) * len(halves), size), dtype=np.uint8)
    # Ordinary scales for most; then each extreme in each place.
    for offset in halves:
        scales = random.normal(0, 0.01, len(blocks)).astype(np.float16)
        blocks[:, offset:offset + 2] = scales.view(np.uint8).reshape(-1, 2)
    row = count
    for offset in halves:
        for pattern in HALVES:
            blocks[row, offset:offset + 2] = [pattern & 255, pattern >> 8]
            row += 1
    if name == "MXFP4":
        blocks[:10, 0] = [0, 1, 2, 3, 127, 250, 251, 252, 254, 255]
    if name == "NVFP4":
        blocks[:3, :4] = [[0, 1, 7, 8], [0x7E, 0x7F, 0x80, 0xFF], [0x78, 0x87, 0x88, 0xFE]]
    with np.errstate(all="ignore"):
        values = dequantize(blocks.reshape(1, -1), kind).astype(np.float32)
    return {f"{name}.blocks": blocks.reshape(-1), f"{name}.values": values.reshape(-1)}


def encoded(name, random):
    rows = [random.normal(0, 10.0 ** power, 32) for power in (-30, -8, -4, -2, 0, 0, 0, 2, 4)]
    rows += [np.zeros(32), -np.zeros(32), np.full(32, 0.1), np.full(32, -3.0), np.arange(32) - 16, np.arange(32) / 64]
    # Halves between two steps, and two numbers of the largest magnitude with opposite signs.
    rows += [np.append([127.0], np.arange(31) - 15.5), np.append([-8.0, 8.0], np.arange(30) / 2 - 7.25)]
    # A step below and above what binary16 holds.
    rows += [np.append([6.5e4], np.ones(31)), np.append([8e6, -8e6], np.ones(30)), np.append([1e-6], np.zeros(31))]
    values = np.concatenate(rows).astype(np.float32)
    if name in ("F16", "BF16"):
        patterns = [0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001, 0xFFFFFFFF, 0x00000001, 0x007FFFFF, 0x7F7FFFFF,
                    0x3F808000, 0x3F818000, 0x3F808001, 0x7F7F8000, 0x477FEFFF, 0x477FF000, 0x33000000, 0x33000001]
        patterns += list(random.integers(0, 1 << 32, 464, dtype=np.uint64))
        values = np.concatenate([values, np.array(patterns, dtype=np.uint64).astype(np.uint32).view(np.float32)])
    with np.errstate(all="ignore"):
        output = quantize(values, Type[name])
    return {f"{name}.input": values, f"{name}.output": np.ascontiguousarray(output).view(np.uint8)}


if __name__ == "__main__":
    random = np.random.default_rng(SEED)
    tensors = {}
    for name, halves in DECODED.items():
        tensors |= decoded(name, halves, random)
    for name in ENCODED:
        tensors |= encoded(name, random)
    save_file(tensors, pathlib.Path(__file__).parent / "blocks.safetensors", {"gguf": "0.19.0", "seed": str(SEED)})
