"""The protocol of `inkstone bench --serve`, for engines that are reached from Python.

A worker says that it is ready, then answers each line of standard input, a JSON object, with one of its own:

    {"op": "prompt", "start": 0, "count": 512}            run these tokens of a prompt, score what follows the last
    {"op": "decode", "start": 0, "count": 32, "rows": 1}  one token of each row at a time, scored
    {"op": "beams", "prompt": 8, "count": 32, "beams": 5, "ngram": 2}    a whole search
    {"op": "train", "batch": 4, "block": 256, "count": 1}  whole steps: forward and backward pass, optimiser

What has to lie before `start` is put there outside of the time. Answers have "seconds" and "tokens", or "error".
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Request = dict[str, Any]
Answer = dict[str, Any]


def tokens(count: int, vocabulary: int) -> list[int]:
    """Arbitrary tokens, the same each time and for each engine."""
    state, result = 7, []
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        result.append((state >> 33) % vocabulary)
    return result


def timed(work: Callable[[], int]) -> Answer:
    """Runs `work`, which returns how many tokens it made."""
    start = time.perf_counter()
    count = work()
    return {"seconds": time.perf_counter() - start, "tokens": count}


def memory(field: str) -> int:
    """Bytes of this process as Linux counts them: `VmRSS` now, `VmHWM` at most."""
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise KeyError(field)


def evict(path: str) -> None:
    """Drops a file from the page cache."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def serve(greeting: Answer, operations: dict[str, Callable[[Request], Answer]]) -> None:
    """Answers until standard input ends."""
    # What libraries print must not end up between the answers.
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(answer: Answer) -> None:
        output.write(json.dumps(answer) + "\n")
        output.flush()

    say({"ready": True} | greeting)
    for line in sys.stdin:
        try:
            request = json.loads(line)
            say(operations[request["op"]](request))
        except Exception as error:  # whatever it is, the other side has to hear of it
            say({"error": f"{type(error).__name__}: {error}"})
