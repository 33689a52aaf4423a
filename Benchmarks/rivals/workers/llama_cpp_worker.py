"""llama.cpp through llama-cpp-python's bindings, as llama-bench uses it."""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import time

import llama_cpp
from protocol import Answer, Request, evict, memory, serve, timed, tokens


class Session:
    """A model with one context."""

    def __init__(
        self, path: str, threads: int, context: int, rows: int, repacks: bool = True, flash_attention: bool = True
    ) -> None:
        llama_cpp.llama_backend_init()
        self._silence = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self._silence, ctypes.c_void_p(0))
        options = llama_cpp.llama_model_default_params()
        options.use_extra_bufts = repacks
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), options)
        if not self.model:
            raise SystemExit(f"{path}: llama.cpp cannot load this file")
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = context, 512, 512
        params.n_threads = params.n_threads_batch = threads
        params.n_seq_max = rows
        params.kv_unified = True  # so that rows share their prompt
        params.no_perf = True
        if not flash_attention:
            params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        if not self.context:
            raise SystemExit(f"{path}: llama.cpp cannot make a context of {context} positions")
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.batch = llama_cpp.llama_batch_init(512, 0, rows)
        self.rows = rows
        #: Positions that row 0 holds; the other rows are emptied after each request.
        self.length = 0

    def run(self, ids: list[int], positions: list[int], rows: list[int], scored: bool) -> None:
        """Runs up to 512 tokens; scores what follows the last of each row, or nothing."""
        batch = self.batch
        batch.n_tokens = len(ids)
        for i, (token, position, row) in enumerate(zip(ids, positions, rows)):
            batch.token[i], batch.pos[i] = token, position
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, row
            batch.logits[i] = scored and (len(set(rows)) > 1 or i == len(ids) - 1)
        status = llama_cpp.llama_decode(self.context, batch)
        if status != 0:
            raise RuntimeError(f"llama_decode returned {status}")
        llama_cpp.llama_synchronize(self.context)

    def append(self, ids: list[int]) -> None:
        """Runs tokens of a prompt in row 0, in pieces; scores what follows the last one."""
        for first in range(0, len(ids), 512):
            piece = ids[first : first + 512]
            start = self.length
            self.run(piece, list(range(start, start + len(piece))), [0] * len(piece), first + 512 >= len(ids))
            self.length += len(piece)

    def fill(self, length: int) -> None:
        """Makes row 0 hold so many positions."""
        if self.length > length:
            llama_cpp.llama_memory_seq_rm(self.memory, 0, length, -1)
            self.length = length
        if self.length < length:
            self.append(tokens(length, self.vocabulary)[self.length :])

    def prompt(self, request: Request) -> Answer:
        start, count = request.get("start", 0), request["count"]
        self.fill(start)
        ids = tokens(start + count, self.vocabulary)[start:]

        def work() -> int:
            self.append(ids)
            return count

        return timed(work)

    def decode(self, request: Request) -> Answer:
        start, count, rows = request.get("start", 0), request["count"], request.get("rows", 1)
        self.fill(start)
        for row in range(1, rows):
            llama_cpp.llama_memory_seq_cp(self.memory, 0, row, -1, -1)
        ids = tokens(start + count * rows, self.vocabulary)[start:]

        def work() -> int:
            for step in range(count):
                self.run(ids[step * rows : (step + 1) * rows], [start + step] * rows, list(range(rows)), True)
            return count * rows

        answer = timed(work)
        self.length = start + count
        for row in range(1, rows):
            llama_cpp.llama_memory_seq_rm(self.memory, row, -1, -1)
        if rows > 1:
            self.fill(start)
        return answer


def survives(path: str, threads: int) -> bool:
    """Whether a prompt goes through: on CPUs with AMX the kernels for its repacked weights die of an illegal instruction."""
    child = os.fork()
    if child == 0:
        session = Session(path, threads, 128, 1)
        session.append(tokens(64, session.vocabulary))
        os._exit(0)
    return not os.WIFSIGNALED(os.waitpid(child, 0)[1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--no-flash-attention", action="store_true", help="instead of llama.cpp's default")
    parser.add_argument("--first-token", action="store_true", help="say how long the first token took, and end")
    parser.add_argument("--from-disk", action="store_true", help="drop the file from the page cache before that")
    parser.add_argument("--quantize", metavar="OUTPUT", help="write the model as Q4_K_M, and end")
    arguments = parser.parse_args()

    if arguments.quantize:
        params = llama_cpp.llama_model_quantize_default_params()
        params.nthread, params.ftype = arguments.threads, llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M
        status = llama_cpp.llama_model_quantize(
            arguments.model.encode(), arguments.quantize.encode(), ctypes.byref(params))
        raise SystemExit(f"{arguments.model}: llama.cpp cannot quantise it" if status else 0)

    greeting: Answer = {"engine": "llama.cpp", "version": llama_cpp.__version__,
                        "system": llama_cpp.llama_print_system_info().decode()}  # fmt: skip
    repacks = survives(arguments.model, arguments.threads)
    if not repacks:
        greeting["warning"] = "its repacked weights crash on this CPU; measured without them"
        print(f"{arguments.model}: {greeting['warning']}", file=sys.stderr, flush=True)
    if arguments.first_token:
        if arguments.from_disk:  # here, for the trial has read it
            evict(arguments.model)
        before, start = memory("VmRSS"), time.perf_counter()
        session = Session(arguments.model, arguments.threads, arguments.context, 1, repacks)
        session.append(tokens(3, session.vocabulary))
        # The interpreter and its imports are no part of llama.cpp.
        greeting |= {"seconds": time.perf_counter() - start, "bytes": memory("VmHWM") - before}
        serve(greeting, {})
        return
    session = Session(
        arguments.model, arguments.threads, arguments.context, arguments.rows, repacks, not arguments.no_flash_attention)
    serve(greeting, {"prompt": session.prompt, "decode": session.decode})


if __name__ == "__main__":
    main()
