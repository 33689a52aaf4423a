"""A GGUF file with every kind of value and of tensor that is decoded, as gguf-py writes it: `small.gguf`.

    python Tests/Reference/GGUF/small.py

gguf 0.19.0, numpy 2.4; seed 7.
"""

import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

random = np.random.default_rng(7)
writer = gguf.GGUFWriter(pathlib.Path(__file__).parent / "small.gguf", "llama")
writer.add_uint8("value.uint8", 200)
writer.add_int8("value.int8", -100)
writer.add_uint16("value.uint16", 60_000)
writer.add_int16("value.int16", -30_000)
writer.add_uint32("value.uint32", 4_000_000_000)
writer.add_int32("value.int32", -2_000_000_000)
writer.add_uint64("value.uint64", 1 << 40)
writer.add_int64("value.int64", -(1 << 40))
writer.add_float32("value.float32", 1.5)
writer.add_float64("value.float64", 1e300)
writer.add_bool("value.bool", True)
writer.add_string("value.string", "人工智能\n")
writer.add_array("array.strings", ["", "a", "人工", "<0x0A>"])
writer.add_array("array.integers", [1, -2, 3])
writer.add_array("array.floats", [0.5, -1.25])
writer.add_array("array.booleans", [True, False, True])
writer.add_custom_alignment(64)
writer.add_tensor("f32", np.arange(12, dtype=np.float32).reshape(3, 4))
writer.add_tensor("f16", np.arange(5, dtype=np.float16))
writer.add_tensor("f64", np.arange(3, dtype=np.float64))
writer.add_tensor("i32", np.arange(4, dtype=np.int32))
writer.add_tensor("three", np.arange(24, dtype=np.float32).reshape(2, 3, 4))
for kind in (Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1):
    data = gguf.quants.quantize(random.normal(0, 1, (2, 64)).astype(np.float32), kind)
    writer.add_tensor(kind.name.lower(), data, raw_dtype=kind)
for kind in (Type.Q2_K, Type.Q3_K, Type.Q4_K, Type.Q5_K, Type.Q6_K, Type.IQ4_NL, Type.IQ4_XS, Type.MXFP4):
    length, size = gguf.GGML_QUANT_SIZES[kind]
    data = random.integers(0, 60, (1, size), dtype=np.uint8)
    writer.add_tensor(kind.name.lower(), data, raw_dtype=kind)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
