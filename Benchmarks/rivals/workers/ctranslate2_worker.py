"""CTranslate2's generator, and the conversion of a model to its format."""

from __future__ import annotations

import argparse

import ctranslate2
from protocol import Answer, Request, serve, timed, tokens


class Vocabulary:
    """Stands for the tokenizer that a random model has not: token 7 is "t7"."""

    bos_token = eos_token = unk_token = "t0"

    def __init__(self, size: int) -> None:
        self.size = size

    def get_vocab(self) -> dict[str, int]:
        return {f"t{i}": i for i in range(self.size)}


def convert(folder: str, output: str) -> None:
    """Writes a Hugging Face folder in CTranslate2's format, as float32."""
    import transformers
    from ctranslate2.converters import TransformersConverter

    class Converter(TransformersConverter):
        def load_tokenizer(self, tokenizer_class: object, name: str, **arguments: object) -> Vocabulary:
            return Vocabulary(transformers.AutoConfig.from_pretrained(name).vocab_size)

    Converter(folder, low_cpu_mem_usage=True).convert(output, quantization="float32", force=True)


class Session:
    """One generator; it takes whole requests from the first position on."""

    def __init__(self, path: str, threads: int, compute_type: str, vocabulary: int) -> None:
        self.generator = ctranslate2.Generator(
            path, device="cpu", inter_threads=1, intra_threads=threads, compute_type=compute_type)
        self.vocabulary = vocabulary

    def names(self, count: int) -> list[str]:
        return [f"t{i}" for i in tokens(count, self.vocabulary)]

    def generate(self, prompt: list[str], count: int, rows: int = 1, **settings: object) -> Answer:
        def work() -> int:
            results = self.generator.generate_batch(
                [prompt] * rows, max_length=count, min_length=count, sampling_topk=1, include_prompt_in_result=False,
                **settings)
            return sum(len(result.sequences_ids[0]) for result in results)

        return timed(work)

    def prompt(self, request: Request) -> Answer:
        # All but the last token run without the head, as a prompt should; the last is the first generated one's step.
        return self.generate(self.from_start(request, request["count"]), 1) | {"tokens": request["count"]}

    def decode(self, request: Request) -> Answer:
        return self.generate(self.from_start(request, 1), request["count"], request.get("rows", 1))

    def beams(self, request: Request) -> Answer:
        return self.generate(
            self.names(request["prompt"]), request["count"], beam_size=request.get("beams", 1),
            no_repeat_ngram_size=request.get("ngram", 0))

    def from_start(self, request: Request, count: int) -> list[str]:
        if request.get("start", 0) != 0:
            raise ValueError("CTranslate2 does not go on from a position")
        return self.names(count)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compute-type", default="float32")
    parser.add_argument("--vocabulary", type=int, default=0)
    parser.add_argument("--convert", metavar="OUTPUT", help="convert the folder, and end")
    arguments = parser.parse_args()
    if arguments.convert:
        convert(arguments.model, arguments.convert)
        return
    session = Session(arguments.model, arguments.threads, arguments.compute_type, arguments.vocabulary)
    serve({"engine": "CTranslate2", "version": ctranslate2.__version__},
          {"prompt": session.prompt, "decode": session.decode, "beams": session.beams})  # fmt: skip


if __name__ == "__main__":
    main()
