#!/usr/bin/env python3
"""Measures Inkstone beside llama.cpp, CTranslate2, transformers and torch on this machine.

    run.py --inkstone .build/release/inkstone --out Benchmarks/Results/local/rivals
    run.py ... --only f32,beams          some sections
    run.py ... --quick                   moments only: does everything run?
    run.py ... --again --only q8_0       measure anew what the folder has already
    run.py ... --only tokenizer --text corpus.txt    learning a vocabulary needs a text

Models have random weights. Limit, rival and Inkstone take turns in slices of about half a second with the same
threads, each in a process of its own. A pass is one whole test (512 tokens of a prompt, 128 generated ones); each pass
gives one ratio of the times, and the report is the median of the passes with their quartiles. Results are written after
each test: a run that was ended goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contenders import WORKERS, Bench, Contender, Unavailable, environment
from report import chart, markdown
from workers.protocol import evict

GPT2, QWEN2 = "gpt2-124m", "qwen2-0.5b"
SHAKESPEARE = "layers=4,heads=4,channels=128,vocabulary=65,context=64"
LABELS = {GPT2: "GPT-2 124M", QWEN2: "Qwen2 0.5B", SHAKESPEARE: "nanoGPT's Shakespeare model"}

Requests = list[dict[str, Any]]


@dataclass
class Floor:
    """What a ratio should be at least; a share of the limit may stand for it."""

    ratio: float
    of_limit: float | None = None


@dataclass
class Measurement:
    """One test: what is asked of each engine in a pass, and what limits it."""

    name: str
    pieces: Requests
    passes: int
    #: "multiply", "read" or nothing.
    limit: str | None = None
    #: "t/s"; or what is better when it is less: "s", "MB".
    unit: str = "t/s"


@dataclass
class Samples:
    """Tokens and seconds of each pass, for one engine; where less is better, one and that."""

    tokens: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    #: Seconds that the limit allows, pass by pass.
    limits: list[float] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        return [count / time for count, time in zip(self.tokens, self.seconds)]


class Run:
    """The sections, and the results so far."""

    def __init__(self, bench: Bench, out: Path, quick: bool, again: bool, text: Path | None = None) -> None:
        self.bench, self.out, self.quick, self.text = bench, out, quick, text
        self.file = out / "rivals.json"
        self.rows: list[dict[str, Any]] = []
        if self.file.exists():
            self.rows = json.loads(self.file.read_text())["rows"]
        self.again = again
        self.measured: set[tuple[str, str, str]] = set()

    # MARK: Measuring

    def compare(
        self, section: str, ours: Contender, rivals: Sequence[Contender], measurement: Measurement,
        floors: dict[str, Floor] | None = None,
    ) -> None:
        """Lets all take turns, piece by piece, and records one row per rival."""
        rivals = [rival for rival in rivals if not self.is_done(section, measurement.name, rival.name)]
        if not rivals:
            return
        print(f"{section}: {measurement.name} …", file=sys.stderr, flush=True)
        passes = 1 if self.quick else measurement.passes
        everyone = [ours, *rivals]
        samples = {contender.name: Samples() for contender in everyone}
        if not self.quick:
            for contender in everyone:
                contender.ask(**measurement.pieces[0])
        for number in range(passes):
            for result in samples.values():
                result.tokens.append(0)
                result.seconds.append(0.0)
                result.limits.append(0.0)
            for place, piece in enumerate(measurement.pieces):
                rate = None
                if measurement.limit:
                    rate = ours.ask(op=measurement.limit, seconds=0.02 if self.quick else 0.2)["rate"]
                # Whoever comes first may find a faster or a slower machine; so they take turns in that too.
                shift = (number + place) % len(everyone)
                for contender in everyone[shift:] + everyone[:shift]:
                    answer = contender.ask(**piece)
                    result = samples[contender.name]
                    result.tokens[-1] += answer["tokens"]
                    result.seconds[-1] += answer["seconds"]
                    if contender is ours and rate:
                        cost = answer.get(
                            "operations_per_token" if measurement.limit == "multiply" else "bytes_per_token", 0)
                        result.limits[-1] += answer["tokens"] * cost / rate
        for rival in rivals:
            self.record(section, measurement, samples[ours.name], rival.name, samples[rival.name],
                        (floors or {}).get(rival.name))  # fmt: skip

    def record(
        self, section: str, measurement: Measurement, ours: Samples, rival: str, theirs: Samples, floor: Floor | None
    ) -> None:
        """Adds one row and writes everything."""
        ratios = [a / b for a, b in zip(ours.rates, theirs.rates)]
        figures = (ours.rates, theirs.rates) if measurement.unit == "t/s" else (ours.seconds, theirs.seconds)
        quartiles = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else [ratios[0]] * 3
        row: dict[str, Any] = {
            "section": section, "test": measurement.name, "rival": rival, "unit": measurement.unit,
            "ours": statistics.median(figures[0]), "theirs": statistics.median(figures[1]),
            "ratio": statistics.median(ratios), "quartiles": [quartiles[0], quartiles[2]],
            "ours_samples": figures[0], "theirs_samples": figures[1], "quick": self.quick,
            "load": os.getloadavg()[0],
        }  # fmt: skip
        if ours.limits and all(ours.limits):
            row["of_limit"] = statistics.median(
                allowed / taken for allowed, taken in zip(ours.limits, ours.seconds))
        if floor:
            row["target"], row["limit_target"] = floor.ratio, floor.of_limit
        key = (section, measurement.name, rival)
        places = [i for i, old in enumerate(self.rows) if (old["section"], old["test"], old["rival"]) == key]
        if places:
            self.rows[places[0]] = row
        else:
            self.rows.append(row)
        self.measured.add(key)
        self.write()

    def is_done(self, section: str, test: str, rival: str) -> bool:
        """Whether the folder has a figure that need not be measured anew."""
        key = (section, test, rival)
        if key in self.measured:
            return True
        return not self.again and any(
            (row["section"], row["test"], row["rival"]) == key and (self.quick or not row["quick"])
            for row in self.rows)

    def write(self) -> None:
        """Writes rivals.json, rivals.md and rivals.svg, each beside itself first."""
        order = list(SECTIONS)
        self.rows.sort(key=lambda row: order.index(row["section"]))
        document = {"machine": machine(), "threads": self.bench.threads, "rows": self.rows}
        files = {"rivals.json": json.dumps(document, indent=1) + "\n", "rivals.md": markdown(self.rows, self.about()),
                 "rivals.svg": chart(self.rows)}  # fmt: skip
        for name, text in files.items():
            part = self.out / f".{name}.part"
            part.write_text(text, encoding="utf-8")
            part.replace(self.out / name)

    def about(self) -> list[str]:
        """What the table says above itself."""
        lines = [
            f"{machine()}, {self.bench.threads} threads; random weights; medians of passes in which limit, rival and"
            " Inkstone take turns in short slices.",
            "Ratio: tokens per second of Inkstone over the other's, of seconds and MB the other's over Inkstone's;"
            " the median over passes. The floor is the project's own aim.",
        ]
        if any(row["quick"] for row in self.rows):
            lines.append("**Made with --quick at least in part: shows that everything runs, and no speed.**")
        return lines

    def open(self, *makers: Callable[[], Contender]) -> list[Contender]:
        """Starts contenders; those that cannot be had are reported and left out, the first one must be had."""
        started: list[Contender] = []
        for number, maker in enumerate(makers):
            try:
                started.append(maker())
            except Unavailable as error:
                if number == 0:
                    raise
                print(f"left out: {error}", file=sys.stderr, flush=True)
        return started


def machine() -> str:
    """The processor's name."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
        return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


# ---------------------------------------------------------------------------------------------------------------------
# Tests
# ---------------------------------------------------------------------------------------------------------------------


def prefill(count: int, passes: int, label: str = "") -> Measurement:
    """A prompt, in pieces of 512 tokens."""
    pieces = [{"op": "prompt", "start": start, "count": min(512, count - start)} for start in range(0, count, 512)]
    return Measurement(f"{label}prefill {count}", pieces, passes, "multiply")


def decode(count: int, passes: int, piece: int, depth: int = 0, label: str = "") -> Measurement:
    """Tokens one by one after some positions, in pieces."""
    pieces = [{"op": "decode", "start": depth + start, "count": min(piece, count - start)}
              for start in range(0, count, piece)]  # fmt: skip
    return Measurement(f"{label}decode {count}" + (f" at {depth}" if depth else ""), pieces, passes, "read")


def piece_length(run: Run, ours: Contender, whole: int) -> int:
    """Tokens of a decode that take us about half a second: a power of two."""
    ours.ask(op="decode", count=2)
    rate = 16 / ours.ask(op="decode", count=16)["seconds"]
    piece = 8
    while piece * 2 <= min(whole, rate / 2):
        piece *= 2
    return whole if run.quick else piece


def of_type(run: Run, dtype: str, shape: str) -> None:
    """Prefill and decode with weights of one type."""
    size = (16, 8) if run.quick else (512, 128)
    label, bench = LABELS[shape] + ", ", run.bench
    makers: list[Callable[[], Contender]] = [
        lambda: bench.inkstone(shape, dtype), lambda: bench.llama_cpp(shape, dtype)]
    if dtype == "f32" and shape == GPT2:
        makers += [lambda: bench.ctranslate(shape), lambda: bench.transformers(shape)]
    if dtype == "q8_0" and shape == GPT2:
        makers.append(lambda: bench.ctranslate(shape, "int8"))
    if dtype == "bf16":
        makers += [lambda: bench.transformers(shape, "bfloat16"), lambda: bench.llama_cpp(shape, "f16")]
    contenders = run.open(*makers)
    ours, rivals = contenders[0], contenders[1:]
    try:
        prefill_floors, decode_floors = FLOORS[dtype, shape]
        run.compare(dtype, ours, [r for r in rivals if r.name != "llama.cpp f16"],
                    prefill(size[0], 7, label), prefill_floors)  # fmt: skip
        # CTranslate2 cannot be stopped within a generation, so a pass of all is one piece beside it.
        piece = piece_length(run, ours, size[1])
        beside = [r for r in rivals if r.name.startswith("CTranslate2")]
        run.compare(dtype, ours, [r for r in rivals if r not in beside],
                    decode(size[1], 5, piece, label=label), decode_floors)  # fmt: skip
        if beside:
            run.compare(dtype, ours, beside, decode(size[1] // 2, 5, size[1] // 2, label=label), decode_floors)
    finally:
        close(contenders)


def both_shapes(run: Run, dtype: str) -> None:
    """One type on both shapes; where one cannot be had, the other is measured."""
    missing = []
    for shape in (GPT2, QWEN2):
        try:
            of_type(run, dtype, shape)
        except Unavailable as error:
            missing.append(str(error))
    if missing:
        raise Unavailable("; ".join(dict.fromkeys(missing)))


def beams(run: Run) -> None:
    """Five beams in which no pair of tokens comes twice."""
    count = 4 if run.quick else 32
    bench = run.bench
    contenders = run.open(
        lambda: bench.inkstone(GPT2), lambda: bench.ctranslate(GPT2), lambda: bench.transformers(GPT2))
    try:
        run.compare(
            "beams", contenders[0], contenders[1:],
            Measurement(f"{LABELS[GPT2]}, 5 beams, no pair twice, {count} tokens",
                        [{"op": "beams", "prompt": 8, "count": count, "beams": 5, "ngram": 2}], 9),
            {"CTranslate2 float32": Floor(1.6)})  # fmt: skip
    finally:
        close(contenders)


def together(run: Run) -> None:
    """Eight sequences decoded together, beside one alone and beside llama.cpp's eight."""
    count = 4 if run.quick else 64
    bench = run.bench
    contenders = run.open(
        lambda: bench.inkstone(GPT2), lambda: bench.inkstone(GPT2), lambda: bench.llama_cpp(GPT2, "f32", rows=8))
    contenders[1].name = "Inkstone, 1 sequence"
    piece = {"op": "decode", "start": 8, "count": count}
    try:
        test = Measurement(f"{LABELS[GPT2]}, 8 sequences", [piece | {"rows": 8}], 9)
        run.compare("together", contenders[0], contenders[2:], test)
        run.compare("together", contenders[0], [Single(contenders[1])], test, {"Inkstone, 1 sequence": Floor(5)})
    finally:
        close(contenders)


class Single(Contender):
    """The same engine with one sequence, whatever is asked."""

    def __init__(self, contender: Contender) -> None:
        self.contender, self.name = contender, contender.name

    def ask(self, **request: Any) -> dict[str, Any]:
        return self.contender.ask(**request | {"rows": 1})


def at_depth(run: Run, dtype: str) -> None:
    """Long prompts, and generation after them."""
    bench = run.bench
    contenders = run.open(
        lambda: bench.inkstone(QWEN2, dtype),
        lambda: bench.llama_cpp(QWEN2, dtype, context=8192 + 512),
        # Which attention is the faster one depends on the CPU and the depth: on some, the default halves deep decoding.
        lambda: bench.llama_cpp(QWEN2, dtype, context=8192 + 512, flash_attention=False))
    ours, rivals = contenders[0], contenders[1:]
    section, label = f"depth-{dtype}", f"{LABELS[QWEN2]}, {dtype}, "
    try:
        for depth, passes in ((0, 3), (1024, 3), (4096, 3)) if not run.quick else ((0, 1), (64, 1)):
            # A depth stays filled from pass to pass: what came after is cut off again.
            piece = piece_length(run, ours, 64) if not run.quick else 4
            run.compare(section, ours, rivals, decode(4 if run.quick else 64, passes, piece, depth, label))
        for count, passes in ((512, 5), (2048, 3), (8192, 1)) if not run.quick else ((16, 1), (600, 1)):
            run.compare(section, ours, rivals, prefill(count, passes, label))
    finally:
        close(contenders)


def training(run: Run) -> None:
    """Steps of GPT-2 124M, f32 and bf16."""
    steps(run, "f32", "float32", Floor(2.5))
    steps(run, "bf16", "bfloat16", Floor(1.2))


def steps(run: Run, precision: str, dtype: str, floor: Floor) -> None:
    """Steps of GPT-2 124M in one precision, and the memory that the process of each took at most."""
    batch, block = (1, 8) if run.quick else (4, 256)
    contenders = run.open(
        lambda: run.bench.training(GPT2, precision), lambda: run.bench.torch_training(GPT2, dtype))
    test = Measurement(f"{LABELS[GPT2]}, training {batch} × {block}, {precision}",
                       [{"op": "train", "batch": batch, "block": block}], 5, "multiply")  # fmt: skip
    try:
        run.compare("training", contenders[0], contenders[1:], test, {contenders[-1].name: floor})
        memory = Measurement(test.name + ", peak memory", [], 1, unit="MB")
        rivals = [rival for rival in contenders[1:] if not run.is_done("training", memory.name, rival.name)]
        for contender in [contenders[0], *rivals] if rivals else []:
            contender.ask(**test.pieces[0])
        for rival in rivals:
            own, other = (Samples([1], [process.peak_memory() / 1e6]) for process in (contenders[0], rival))
            run.record("training", memory, own, rival.name, other, Floor(1))
    finally:
        close(contenders)


def shakespeare(run: Run) -> None:
    """Steps of nanoGPT's recipe for a CPU: block 64, batch 12, 4 layers, 4 heads, 128 channels."""
    name = "nanoGPT's Shakespeare recipe, steps of 12 × 64"
    pieces = [{"op": "train", "batch": 12, "block": 64, "count": 1 if run.quick else 12}]
    # Either precision reaches the recipe's loss, so that the faster one stands beside both of the rival's too.
    for precision, dtypes, test in (("f32", ["float32"], name), ("bf16", ["float32", "bfloat16"], name + ", bf16")):
        contenders = run.open(
            lambda: run.bench.training(SHAKESPEARE, precision),
            *[lambda dtype=dtype: run.bench.torch_training(SHAKESPEARE, dtype) for dtype in dtypes])
        try:
            run.compare("shakespeare", contenders[0], contenders[1:], Measurement(test, pieces, 9),
                        {"torch f32": Floor(2), "torch bf16 autocast": Floor(1.2)})  # fmt: skip
        finally:
            close(contenders)


def tokenizer(run: Run) -> None:
    """A byte-level BPE of 32,000 tokens from a text: whole processes, the rival's without its imports."""
    bench, text = run.bench, run.text
    if text is None:
        print("left out: tokenizer: needs a text, --text FILE", file=sys.stderr, flush=True)
        return
    size = 1000 if run.quick else 32_000
    test = Measurement(f"byte-level BPE of {size:,} tokens from {text.stat().st_size / 1e6:.0f} MB", [], 1, unit="s")
    if run.is_done("tokenizer", test.name, "tokenizers"):
        return
    print(f"tokenizer: {test.name} …", file=sys.stderr, flush=True)
    # Its threads are Rayon's, and it is told not to use them where it may be forked.
    variables = environment(bench.threads) | {"TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": str(bench.threads)}
    ours, theirs = Samples(), Samples()
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "inkstone"), Path(folder, "tokenizers.json")
        commands = {
            True: [bench.program, "tokenizer", "train", "-q", str(text), "--vocab-size", str(size), "-t",
                   str(bench.threads), "-o", str(first)],
            False: [sys.executable, str(WORKERS / "tokenizers_worker.py"), "--text", str(text), "--vocabulary",
                    str(size), "--out", str(second)],
        }  # fmt: skip
        for number in range(1 if run.quick else 3):
            for is_ours in (True, False) if number % 2 == 0 else (False, True):
                shutil.rmtree(first if is_ours else second, ignore_errors=True)
                begin = time.perf_counter()
                process = subprocess.run(
                    commands[is_ours], env=variables, stdout=subprocess.PIPE, stderr=bench.log, text=True, check=False)
                seconds = time.perf_counter() - begin
                if process.returncode != 0:
                    raise Unavailable(f"{commands[is_ours][0]} ended with status {process.returncode}; the log says why")
                samples = ours if is_ours else theirs
                samples.tokens.append(1)
                samples.seconds.append(seconds if is_ours else float(process.stdout))
        merges = [[tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in
                   json.loads(path.read_text(encoding="utf-8"))["model"]["merges"]]
                  for path in (first / "tokenizer.json", second)]  # fmt: skip
    if merges[0] != merges[1]:
        raise Unavailable("the two vocabularies have different merges, so their times say nothing")
    run.record("tokenizer", test, ours, "tokenizers", theirs, Floor(1))


def start(run: Run) -> None:
    """The first token of a new process, and the memory it takes, from a file in the page cache and from the disk."""
    bench = run.bench
    for shape, dtype in ((GPT2, "f32"), (GPT2, "q8_0"), (QWEN2, "f32"), (QWEN2, "q8_0")):
        try:
            flags = bench.dtype_flags(dtype)
            path = bench.gguf(shape, dtype)
        except Unavailable as error:
            print(f"left out: {error}", file=sys.stderr, flush=True)
            continue
        rival = f"llama.cpp {dtype}"
        for where in ("cached", "from disk"):
            name = f"{LABELS[shape]}, {dtype}, first token, {where}"
            memory_name = f"{LABELS[shape]}, {dtype}, peak memory"
            if run.is_done("start", name, rival):
                continue
            print(f"start: {name} …", file=sys.stderr, flush=True)
            ours, theirs = Samples(), Samples()
            sizes: tuple[list[int], list[int]] = ([], [])
            for number in range(1 if run.quick else 5):
                for is_ours in (True, False) if number % 2 == 0 else (False, True):
                    from_disk = where == "from disk"
                    seconds, size = (
                        start_ours(bench, path, flags, from_disk)
                        if is_ours
                        else start_llama_cpp(bench, path, from_disk)
                    )
                    samples = ours if is_ours else theirs
                    samples.tokens.append(1)
                    samples.seconds.append(seconds)
                    sizes[0 if is_ours else 1].append(size)
            run.record("start", Measurement(name, [], 1, unit="s"), ours, rival, theirs,
                       Floor(1) if where == "from disk" else None)  # fmt: skip
            if where == "cached":
                memory = Measurement(memory_name, [], 1, unit="MB")
                own, other = (Samples([1] * len(values), [value / 1e6 for value in values]) for values in sizes)
                run.record("start", memory, own, rival, other, None)
                most = 1.15 * path.stat().st_size + 64e6
                bound = Samples(own.tokens, [most / 1e6] * len(own.tokens))
                run.record("start", memory, own, "weights + 15 % + 64 MB", bound, Floor(1))


def start_ours(bench: Bench, path: Path, flags: list[str], from_disk: bool) -> tuple[float, int]:
    """Seconds from the start of a process to the token that it writes, and the most memory it held."""
    if from_disk:
        evict(str(path))
    command = [bench.program, "generate", "-m", str(path), "--prompt-ids", "1,2,3", "-n", "1", "--json", "-q", "-t",
               str(bench.threads), *flags]  # fmt: skip
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=bench.log, env=environment(bench.threads))
    assert process.stdout is not None
    process.stdout.read(1)
    seconds = time.perf_counter() - begin
    process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise Unavailable(f"inkstone generate ended with status {process.returncode}; the log says why")
    return seconds, usage.ru_maxrss * 1024


def start_llama_cpp(bench: Bench, path: Path, from_disk: bool) -> tuple[float, int]:
    """The same of llama.cpp, without Python and its imports."""
    command = [sys.executable, str(WORKERS / "llama_cpp_worker.py"), "--model", str(path), "--threads",
               str(bench.threads), "--first-token", *(["--from-disk"] if from_disk else [])]  # fmt: skip
    contender = Contender("llama.cpp", command, bench.threads, bench.log)
    contender.close()
    return contender.greeting["seconds"], contender.greeting["bytes"]


def close(contenders: Sequence[Contender]) -> None:
    for contender in contenders:
        contender.close()


SECTIONS: dict[str, Callable[[Run], None]] = {
    "f32": lambda run: both_shapes(run, "f32"),
    "bf16": lambda run: both_shapes(run, "bf16"),
    "q8_0": lambda run: both_shapes(run, "q8_0"),
    "q4_0": lambda run: both_shapes(run, "q4_0"),
    "q4_K": lambda run: both_shapes(run, "q4_K"),
    "beams": beams,
    "together": together,
    "depth-f32": lambda run: at_depth(run, "f32"),
    "depth-q8_0": lambda run: at_depth(run, "q8_0"),
    "depth-q4_0": lambda run: at_depth(run, "q4_0"),
    "training": training,
    "shakespeare": shakespeare,
    "tokenizer": tokenizer,
    "start": start,
}

#: (type, shape): floors of prefill and of decode, by rival. A decode floor is also met at 90 % of the read limit.
FLOORS: dict[tuple[str, str], tuple[dict[str, Floor], dict[str, Floor]]] = {
    ("f32", GPT2): ({"llama.cpp f32": Floor(1.6), "CTranslate2 float32": Floor(1)}, {"llama.cpp f32": Floor(1, 0.9)}),
    ("f32", QWEN2): ({}, {}),
    ("bf16", GPT2): (
        {"llama.cpp bf16": Floor(1.4), "transformers bfloat16": Floor(1)}, {"llama.cpp f16": Floor(1.2, 0.9)}),
    ("bf16", QWEN2): ({}, {}),
    ("q8_0", GPT2): ({"llama.cpp q8_0": Floor(2.5), "CTranslate2 int8": Floor(1)}, {"llama.cpp q8_0": Floor(1.4, 0.9)}),
    ("q4_0", GPT2): ({"llama.cpp q4_0": Floor(1.5)}, {"llama.cpp q4_0": Floor(1.4, 0.9)}),
    ("q4_K", GPT2): ({"llama.cpp Q4_K_M": Floor(1.4)}, {"llama.cpp Q4_K_M": Floor(1.4, 0.9)}),
} | {
    (dtype, QWEN2): ({f"llama.cpp {name}": Floor(1.4)}, {f"llama.cpp {name}": Floor(1.25, 0.9)})
    for dtype, name in (("q8_0", "q8_0"), ("q4_0", "q4_0"), ("q4_K", "Q4_K_M"))
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inkstone", default="inkstone", help="our program")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--models", type=Path, help="folder of the models (default: OUT/models)")
    parser.add_argument("--only", help=f"sections: {', '.join(SECTIONS)}")
    parser.add_argument("--text", type=Path, help="what a vocabulary is learned from (tokenizer)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--quick", action="store_true", help="moments only, to see that everything runs")
    parser.add_argument("--again", action="store_true", help="measure anew what the folder has already")
    arguments = parser.parse_args()

    sections = arguments.only.split(",") if arguments.only else list(SECTIONS)
    unknown = [name for name in sections if name not in SECTIONS]
    if unknown:
        parser.error(f"--only {','.join(unknown)}: unknown; sections are {', '.join(SECTIONS)}")
    if arguments.text and not arguments.text.is_file():
        parser.error(f"--text {arguments.text}: no such file")
    arguments.out.mkdir(parents=True, exist_ok=True)
    missed = False
    with (arguments.out / "log.txt").open("a", encoding="utf-8") as log:
        bench = Bench(arguments.inkstone, arguments.threads, arguments.models or arguments.out / "models", log)
        run = Run(bench, arguments.out, arguments.quick, arguments.again, arguments.text)
        for name in sections:
            begin = time.monotonic()
            try:
                SECTIONS[name](run)
            except Unavailable as error:
                missed = True
                print(f"left out: {name}: {error}", file=sys.stderr, flush=True)
            print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    if run.rows:
        run.write()
        print((arguments.out / "rivals.md").read_text(encoding="utf-8"))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
