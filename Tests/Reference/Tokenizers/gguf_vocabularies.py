"""Writes the GGUF vocabularies beside this script, and what llama.cpp says of them.

    pip install -r ../requirements.txt gguf==0.19.0 xllamacpp==2026.10.11549
    python gguf_vocabularies.py            # after generate.py, whose tokenizers these are
    python gguf_vocabularies.py --sweep 2000 --seed 1 --out FOLDER [VOCABULARY.gguf ...]

The package xllamacpp is used for the libllama that it contains, through the C interface. BERT's vocabularies are compared
where llama.cpp does what BERT does: it takes but the first character of a decomposition, and cuts at control characters.
"""

import argparse
import ctypes
import importlib.util
import json
import sys
from pathlib import Path

import gguf
from sentencepiece import sentencepiece_model_pb2 as pb

import texts

HERE = Path(__file__).parent
SEED = 20261124
COUNT = 60
VOCAB_ONLY = 72  # the place of `vocab_only` in `llama_model_params` of this version


class Parameters(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_ubyte * 512)]


def library():
    path = next(Path(importlib.util.find_spec("xllamacpp").origin).parent.glob("xllamacpp*.so"))
    lib = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    ids = ctypes.POINTER(ctypes.c_int32)
    lib.llama_model_default_params.restype = Parameters
    lib.llama_model_load_from_file.argtypes, lib.llama_model_load_from_file.restype = [ctypes.c_char_p, Parameters], ctypes.c_void_p
    lib.llama_model_get_vocab.argtypes, lib.llama_model_get_vocab.restype = [ctypes.c_void_p], ctypes.c_void_p
    lib.llama_tokenize.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ids, ctypes.c_int32, ctypes.c_bool, ctypes.c_bool]
    lib.llama_token_to_piece.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_char_p, ctypes.c_int32, ctypes.c_int32, ctypes.c_bool]
    lib.llama_vocab_is_control.argtypes, lib.llama_vocab_is_control.restype = [ctypes.c_void_p, ctypes.c_int32], ctypes.c_bool
    lib.llama_vocab_get_attr.argtypes = [ctypes.c_void_p, ctypes.c_int32]
    for name in ("n_tokens", "bos", "eos"):
        getattr(lib, "llama_vocab_" + name).argtypes = [ctypes.c_void_p]
    quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
    lib.quiet = quiet(lambda level, text, data: None)
    lib.llama_log_set.argtypes = [quiet, ctypes.c_void_p]
    lib.llama_log_set(lib.quiet, None)
    return lib


class Vocabulary:
    lib = None

    def __init__(self, path):
        Vocabulary.lib = Vocabulary.lib or library()
        parameters = self.lib.llama_model_default_params()
        parameters.bytes[VOCAB_ONLY] = 1
        self.model = self.lib.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.model:
            raise SystemExit(f"llama.cpp refuses {path}")
        self.vocabulary = self.lib.llama_model_get_vocab(self.model)
        self.size = self.lib.llama_vocab_n_tokens(self.vocabulary)

    def encode(self, text, special=True):
        data = text.encode()
        room = 4 * len(data) + 64
        out = (ctypes.c_int32 * room)()
        count = self.lib.llama_tokenize(self.vocabulary, data, len(data), out, room, special, True)
        assert count >= 0
        return list(out[:count])

    def is_special(self, token):  # control or unknown
        return bool(self.lib.llama_vocab_get_attr(self.vocabulary, token) & (1 << 3 | 1 << 0))

    def pieces(self, ids):
        buffer = ctypes.create_string_buffer(1 << 16)
        out = b""
        for i in ids:
            count = self.lib.llama_token_to_piece(self.vocabulary, i, buffer, 1 << 16, 0, True)
            out += buffer.raw[:count]
        return out


def begin(path):
    writer = gguf.GGUFWriter(path, "llama")
    for add in (writer.add_context_length, writer.add_embedding_length, writer.add_block_count, writer.add_feed_forward_length, writer.add_head_count):
        add(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(1)
    return writer


def end(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def byte_pairs(path, pre, source="gpt2", **flags):
    data = json.loads((HERE / source / "tokenizer.json").read_text(encoding="utf-8"))
    vocab = data["model"]["vocab"]
    tokens, types = sorted(vocab, key=vocab.get), [1] * len(vocab)
    for token in data["added_tokens"]:
        types[token["id"]] = 3
    tokens += ["<|im_end|>", "<tool>", "  "]  # a plain type that is wrong, user-defined ones
    types += [1, 4, 4]
    writer = begin(path)
    writer.add_tokenizer_model("gpt2")
    if pre:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in data["model"]["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    for flag, value in flags.items():
        getattr(writer, flag)(value)
    end(writer)


def pieces(path, kind, source, symbols=True, **flags):
    model = pb.ModelProto.FromString((HERE / source / "tokenizer.model").read_bytes())
    if not symbols:  # llama.cpp breaks characters that begin as a symbol does
        for piece in model.pieces:
            if piece.type == 4:
                piece.type, piece.score = 1, -5
    ids = {piece.piece: i for i, piece in enumerate(model.pieces)}
    writer = begin(path)
    writer.add_tokenizer_model(kind)
    writer.add_token_list([piece.piece for piece in model.pieces])
    writer.add_token_scores([piece.score for piece in model.pieces])
    writer.add_token_types([piece.type for piece in model.pieces])
    if kind == "t5":
        writer.add_precompiled_charsmap(model.normalizer_spec.precompiled_charsmap)
    writer.add_unk_token_id(ids["<unk>"])
    writer.add_bos_token_id(ids["<s>"])
    writer.add_eos_token_id(ids["</s>"])
    for flag, value in flags.items():
        getattr(writer, flag)(value)
    end(writer)


def words(path):
    lines = (HERE / "bert_words" / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    lines = [line.rstrip() for line in lines]
    special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    tokens = [t if t in special else t[2:] if t.startswith("##") else "\u2581" + t for t in dict.fromkeys(lines)]
    tokens = list(dict.fromkeys(tokens))
    writer = begin(path)
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if t in special else 1 for t in tokens])
    writer.add_unk_token_id(tokens.index("[UNK]"))
    writer.add_sep_token_id(tokens.index("[SEP]"))
    writer.add_bos_token_id(tokens.index("[CLS]"))
    writer.add_pad_token_id(tokens.index("[PAD]"))
    end(writer)


def cases(path, seed, count):
    v = Vocabulary(path)
    reader = gguf.GGUFReader(path)
    kind = reader.fields["tokenizer.ggml.model"].contents()
    space = reader.fields["tokenizer.ggml.add_space_prefix"].contents() if "tokenizer.ggml.add_space_prefix" in reader.fields else kind == "llama"
    special = [token for token in range(v.size) if v.is_special(token)]
    content = [v.pieces([token]).decode() for token in special[:20]]
    out = []
    for text in texts.strings(seed, 8 * count if kind == "bert" else count, content + ["<tool>", "  "]):
        if kind == "bert" and any(  # what both clean and decompose alike
            not c.isprintable() or ord(c) > 0x17F and not 0x4E00 <= ord(c) < 0x9FA6 for c in text
        ):
            continue
        case = {"text": text, "ids": v.encode(text), "plain": v.encode(text, False)}
        for key, ids in (("decoded", case["ids"]), ("skipped", [i for i in case["ids"] if i not in set(special)])):
            decoded = v.pieces(ids).decode(errors="replace")
            if space and decoded.startswith(" "):
                decoded = decoded[1:]
            if decoded != text:
                case[key] = decoded
        out.append(case)
    named = {"bos_token": v.lib.llama_vocab_bos(v.vocabulary), "eos_token": v.lib.llama_vocab_eos(v.vocabulary)}
    extra = {"encodeOnly": True} if kind == "bert" else {}
    return {"seed": seed, "size": v.size, "named": {k: i for k, i in named.items() if i >= 0}, "special": special, "cases": out} | extra


KEPT = {
    "gguf_default": lambda path: byte_pairs(path, None, add_add_bos_token=True, add_add_eos_token=True),
    "gguf_llama_bpe": lambda path: byte_pairs(path, "llama-bpe", "llama3"),
    "gguf_deepseek_llm": lambda path: byte_pairs(path, "deepseek-llm"),
    "gguf_falcon": lambda path: byte_pairs(path, "falcon"),
    "gguf_pairs": lambda path: pieces(path, "llama", "pieces_pairs"),
    "gguf_pairs_bare": lambda path: pieces(path, "llama", "pieces_unigram_bytes", add_add_space_prefix=False, add_add_bos_token=False),
    "gguf_unigram": lambda path: pieces(path, "t5", "pieces_unigram", False, add_add_space_prefix=True, add_remove_extra_whitespaces=True),
    "gguf_words": words,
}
PRE = (
    "dbrx minicpm5 gpt-2 starcoder qwen2 qwen35 deepseek-coder deepseek-v3 bloom viking tekken gpt-4o chameleon superbpe bailingmoe seed-coder "
    "ufakzeka laguna exaone-moe youtu refact command-r stablelm2 olmo smaug-bpe phi-2 smollm mpt codeshell"
)  # fmt: skip


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sweep", type=int, metavar="TEXTS")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("given", nargs="*", type=Path)
    options = parser.parse_args()
    makers = KEPT | ({f"gguf_{pre}": lambda path, pre=pre: byte_pairs(path, pre) for pre in PRE.split()} if options.sweep else {})
    for index, (name, maker) in enumerate(makers.items()):
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        maker(folder / "vocab.gguf")
        write(folder, cases(folder / "vocab.gguf", options.seed + index, options.sweep or COUNT))
    for index, path in enumerate(options.given):
        folder = options.out / f"given_gguf_{index}_{path.stem}"
        folder.mkdir(parents=True, exist_ok=True)
        write(folder, cases(path, options.seed + 1000 + index, options.sweep or COUNT) | {"path": str(path)})


def write(folder, value):
    with open(folder / "cases.json", "w", encoding="utf-8", newline="\n") as file:
        json.dump(value, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    sys.exit(main())
