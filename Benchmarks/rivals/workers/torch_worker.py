"""transformers on torch: prompts, generation, beams, and training steps."""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

import torch
import transformers
from protocol import Answer, Request, serve, timed, tokens


class Session:
    """A model, and the keys and values of one sequence."""

    def __init__(self, folder: str, dtype: torch.dtype) -> None:
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
        self.vocabulary = self.model.config.vocab_size
        self.cache: Any = None
        self.length = 0

    def step(self, ids: list[list[int]]) -> None:
        """Runs tokens of each row, and scores what follows the last one."""
        with torch.inference_mode():
            self.cache = self.model(
                torch.tensor(ids), past_key_values=self.cache, use_cache=True, logits_to_keep=1).past_key_values
        self.length += len(ids[0])

    def fill(self, length: int, rows: int = 1) -> None:
        """Makes each row hold so many positions."""
        if self.length == length and rows == 1 and length > 0:
            return
        self.cache, self.length = None, 0
        if length > 0:
            self.step([tokens(length, self.vocabulary)] * rows)

    def prompt(self, request: Request) -> Answer:
        start, count = request.get("start", 0), request["count"]
        self.fill(start)
        ids = tokens(start + count, self.vocabulary)[start:]

        def work() -> int:
            self.step([ids])
            return count

        return timed(work)

    def decode(self, request: Request) -> Answer:
        start, count, rows = request.get("start", 0), request["count"], request.get("rows", 1)
        self.fill(start, rows)
        ids = tokens(start + count * rows, self.vocabulary)[start:]

        def work() -> int:
            for step in range(count):
                self.step([[token] for token in ids[step * rows : (step + 1) * rows]])
            return count * rows

        answer = timed(work)
        if rows > 1:
            self.cache, self.length = None, 0
        return answer

    def beams(self, request: Request) -> Answer:
        prompt, count = torch.tensor([tokens(request["prompt"], self.vocabulary)]), request["count"]

        def work() -> int:
            with torch.inference_mode():
                output = self.model.generate(
                    prompt, attention_mask=torch.ones_like(prompt), do_sample=False, num_beams=request.get("beams", 1),
                    no_repeat_ngram_size=request.get("ngram", 0), max_new_tokens=count, min_new_tokens=count,
                    pad_token_id=0)
            return output.shape[1] - prompt.shape[1]

        return timed(work)


class Training:
    """Training steps of random weights: AdamW in one fused kernel, gradients clipped."""

    def __init__(self, folder: str, autocast: bool) -> None:
        config = transformers.AutoConfig.from_pretrained(folder)
        for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
            if hasattr(config, name):
                setattr(config, name, 0.0)
        config.use_cache = False
        torch.manual_seed(1)
        self.model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, weight_decay=0.1, fused=True)
        self.autocast = autocast

    def train(self, request: Request) -> Answer:
        batch, block, count = request["batch"], request["block"], request.get("count", 1)
        size = self.model.config.vocab_size
        data = torch.randint(size, (count, batch, block + 1), generator=torch.Generator().manual_seed(2))

        def work() -> int:
            for step in data:
                precision = torch.autocast("cpu", torch.bfloat16) if self.autocast else contextlib.nullcontext()
                with precision:
                    logits = self.model(step[:, :-1]).logits
                    loss = torch.nn.functional.cross_entropy(logits.reshape(-1, size), step[:, 1:].reshape(-1))
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
            return count * batch * block

        return timed(work)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--train", action="store_true", help="train; bfloat16 means autocast")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    greeting: Answer = {"engine": "torch" if arguments.train else "transformers",
                        "version": f"transformers {transformers.__version__}, torch {torch.__version__}"}  # fmt: skip
    if arguments.train:
        training = Training(arguments.model, arguments.dtype == "bfloat16")
        serve(greeting, {"train": training.train})
    else:
        session = Session(arguments.model, getattr(torch, arguments.dtype))
        serve(greeting, {"prompt": session.prompt, "decode": session.decode, "beams": session.beams})


if __name__ == "__main__":
    main()
