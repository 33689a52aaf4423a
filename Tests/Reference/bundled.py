#!/usr/bin/env python3
"""Writes the regression reference of a whole model with its tokenizer: what transformers computes from real texts.

    bundled.py Models/inkstone-zh [--threads 2]

`reference/` beside the model then holds logits and log-probabilities of short texts, tokenizations, and greedy and beam
continuations of the texts in `PROMPTS`, as in `generate.py`: computed from the folder's files in float32, each continuation
kept only when float64 takes the same decisions with no margin under `generate.MARGIN`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import jsonschema
import torch
import transformers
from transformers import AutoTokenizer

from generate import SCHEMA, Undecided, decode, load, logits_of, next_scores, save, write_json

#: Texts that are continued.
PROMPTS = ["人工智能是", "机器学习", "神经网络由", "大语言模型", "Artificial intelligence is"]
#: Texts whose every logit is kept: few tokens, because a row is as wide as the vocabulary.
TEXTS = ["人工智能是计算机科学的一个分支。", "Machine learning is 1 of 3 parts."]
#: Texts that are cut and put together again.
PIECES = ["人工智能是计算机科学的一个重要分支。", "GPT-2 有 1.24 亿个参数，\n训练了 40GB 文本。", "  two  spaces\tand a tab", "😀 emoji 和 ǅ"]
BEAMS = {"do_sample": False, "max_length": 50, "num_beams": 5, "no_repeat_ngram_size": 2, "early_stopping": True}
GREEDY = {"do_sample": False, "max_new_tokens": 40}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1, for reproducible bytes)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()

    model, model64 = load(options.model)
    tokenizer = AutoTokenizer.from_pretrained(options.model, local_files_only=True)
    cases: list[dict] = []
    tensors: dict[str, torch.Tensor] = {}
    for index, text in enumerate(TEXTS):
        ids = tokenizer(text)["input_ids"]
        logits = logits_of(model, ids)
        name = f"prefill-{index}"
        tensors[f"{name}.logits"] = logits.contiguous()
        chances = torch.log_softmax(logits.double(), -1)[:-1].gather(1, torch.tensor(ids)[1:, None])[:, 0]
        cases.append({"name": name, "input_ids": ids, "logits": f"{name}.logits",
                      "token_logprobs": [None] + chances.tolist()})  # fmt: skip
    for index, text in enumerate(PIECES):
        ids = tokenizer(text)["input_ids"]
        cases.append({"name": f"tok-{index}", "text": text, "add_special_tokens": True, "ids": ids,
                      "decoded": tokenizer.decode(ids, clean_up_tokenization_spaces=False)})  # fmt: skip
    dropped = []
    for index, text in enumerate(PROMPTS):
        for kind, settings in (("greedy", GREEDY), ("beams", BEAMS)):
            name = f"{kind}-{index}"
            ids = tokenizer(text)["input_ids"]
            try:
                result, _ = decode(model, model64, ids, settings)
            except Undecided:
                dropped.append(name)
                continue
            cases.append({"name": name, "input_ids": ids, "generation_config": settings, **result})
    settings = {"do_sample": True, "temperature": 0.8, "top_k": 40, "top_p": 0.95, "repetition_penalty": 1.1}
    ids = tokenizer(PROMPTS[0])["input_ids"]
    tensors["scores.processed"] = next_scores(model, ids, settings).contiguous()
    cases.append({"name": "scores", "input_ids": ids, "generation_config": settings, "processed_scores": "scores.processed"})

    reference = {"generator": {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]},
                 "seed": 0, "cases": cases}  # fmt: skip
    jsonschema.validate(reference, json.loads(SCHEMA.read_text()))
    folder = options.model / "reference"
    folder.mkdir(exist_ok=True)
    write_json(folder / "reference.json", reference)
    save(tensors, folder / "reference.safetensors")
    print(f"{len(cases)} cases" + (f", dropped {' '.join(dropped)}" if dropped else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
