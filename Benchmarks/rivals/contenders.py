"""Engines in processes of their own, and the models they need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

WORKERS = Path(__file__).resolve().parent / "workers"
#: A process that answered may still spin for a moment before its threads sleep; the next one should not pay for that.
PAUSE = 0.02


class Unavailable(Exception):
    """An engine, or a model for it, that cannot be had; says why in one line."""


def environment(threads: int) -> dict[str, str]:
    """What every engine runs with: the same number of threads, and OpenBLAS left to its own choices."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    return variables | {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


class Contender:
    """A process that answers requests, one JSON object per line."""

    def __init__(self, name: str, command: list[str], threads: int, log: TextIO) -> None:
        self.name = name
        log.write(f"$ {' '.join(command)}\n")
        log.flush()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment(threads))
        self.greeting = self._answer()
        if "warning" in self.greeting:
            print(f"{name}: {self.greeting['warning']}", file=sys.stderr, flush=True)

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request, after a short pause; raises `Unavailable` for an error."""
        assert self.process.stdin
        time.sleep(PAUSE)
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Unavailable(f"{self.name} ended") from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise Unavailable(f"{self.name} ended with status {self.process.wait()}; the log says why")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Unavailable(f"{self.name}: {answer['error']}")
        return answer

    def peak_memory(self) -> int:
        """The most bytes that the process held so far."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise Unavailable(f"{self.name}: this system does not say how much memory it took")

    def close(self) -> None:
        """Ends the process by ending its input."""
        assert self.process.stdin
        self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Bench:
    """The programs, the threads and the folder of models; makes what is missing in it."""

    program: str
    threads: int
    models: Path
    log: TextIO

    def __post_init__(self) -> None:
        self.models.mkdir(parents=True, exist_ok=True)
        self.flags = self._help("bench") + self._help("generate")
        self.has_quantize = "quantize" in self._help().split()

    def _help(self, *command: str) -> str:
        return subprocess.run([self.program, *command, "--help"], capture_output=True, text=True, check=True).stdout

    # MARK: Models

    def folder(self, shape: str) -> Path:
        """Random weights of a shape, in Hugging Face's layout."""
        path = self.models / shape.replace("=", "").replace(",", "-")
        if not (path / "config.json").exists():
            self._make(path, self.program, "bench", "--shape", shape, "--save", "{}")
        return path

    def gguf(self, shape: str, dtype: str) -> Path:
        """The same as a GGUF file of some type; q4_K as llama.cpp's own Q4_K_M."""
        path = self.models / f"{shape}-{dtype}.gguf"
        if not path.exists():
            if dtype == "q4_K":
                worker = str(WORKERS / "llama_cpp_worker.py")
                self._make(path, sys.executable, worker, "--model", str(self.gguf(shape, "f32")),
                           "--threads", str(self.threads), "--quantize", "{}")  # fmt: skip
            else:
                self._make(path, self.program, "convert", "-m", str(self.folder(shape)), "-o", "{}", "--outtype", dtype,
                           "--no-vocabulary", "--quiet")  # fmt: skip
        return path

    def ctranslate2(self, shape: str) -> Path:
        """The same in CTranslate2's format, float32, which other types are made of when it is loaded."""
        path = self.models / f"{shape}-ctranslate2"
        if not path.exists():
            self._make(path, sys.executable, str(WORKERS / "ctranslate2_worker.py"),
                       "--model", str(self.folder(shape)), "--convert", "{}")  # fmt: skip
        return path

    def _make(self, path: Path, *command: str) -> None:
        """Runs a command that writes `{}`, and gives that its name once it is complete."""
        print(f"making {path.name} …", file=sys.stderr, flush=True)
        part = path.with_name(f"part-{path.name}")
        arguments = [part.as_posix() if argument == "{}" else argument for argument in command]
        self.log.write(f"$ {' '.join(arguments)}\n")
        self.log.flush()
        status = subprocess.run(
            arguments, check=False, stdout=self.log, stderr=self.log, env=environment(self.threads)).returncode
        if status != 0:
            raise Unavailable(f"{path.name} cannot be made (exit status {status}); the log says why")
        part.replace(path)

    # MARK: Engines

    def dtype_flags(self, dtype: str) -> list[str]:
        """How our program is told a type of weights."""
        if "--dtype" in self.flags:
            return ["--dtype", dtype]
        if dtype != "f32":
            raise Unavailable(f"this inkstone has no --dtype; {dtype} is not measured")
        return []

    def inkstone(self, shape: str, dtype: str = "f32") -> Contender:
        """Our engine, which also measures the limits."""
        flags = self.dtype_flags(dtype)
        return Contender("inkstone", [self.program, "bench", "-m", str(self.folder(shape)), "-t", str(self.threads),
                                      "--serve", *flags], self.threads, self.log)  # fmt: skip

    def training(self, shape: str, precision: str) -> Contender:
        """Our engine for training, on random weights of its own."""
        flags: list[str] = []
        if precision != "f32":
            if "--precision" not in self.flags:
                raise Unavailable(f"this inkstone has no bench --precision; training in {precision} is not measured")
            flags = ["--precision", precision]
        return Contender("inkstone", [self.program, "bench", "--shape", shape, "-t", str(self.threads), "--serve",
                                      *flags], self.threads, self.log)  # fmt: skip

    def llama_cpp(
        self, shape: str, dtype: str, context: int = 1024, rows: int = 1, flash_attention: bool = True
    ) -> Contender:
        """llama.cpp; by its default with flash attention."""
        name = f"llama.cpp {'Q4_K_M' if dtype == 'q4_K' else dtype}"
        if not flash_attention:
            name += ", no flash attention"
        return self._worker(name, "llama_cpp_worker.py", "--model", str(self.gguf(shape, dtype)), "--context",
                            str(context), "--rows", str(rows),
                            *([] if flash_attention else ["--no-flash-attention"]))  # fmt: skip

    def ctranslate(self, shape: str, compute_type: str = "float32") -> Contender:
        """CTranslate2."""
        config = json.loads((self.folder(shape) / "config.json").read_text())
        return self._worker(f"CTranslate2 {compute_type}", "ctranslate2_worker.py", "--model",
                            str(self.ctranslate2(shape)), "--compute-type", compute_type, "--vocabulary",
                            str(config["vocab_size"]))  # fmt: skip

    def transformers(self, shape: str, dtype: str = "float32") -> Contender:
        """transformers on torch."""
        return self._worker(f"transformers {dtype}", "torch_worker.py", "--model", str(self.folder(shape)), "--dtype",
                            dtype)  # fmt: skip

    def torch_training(self, shape: str, dtype: str = "float32") -> Contender:
        """Training steps in torch."""
        name = "torch f32" if dtype == "float32" else "torch bf16 autocast"
        return self._worker(name, "torch_worker.py", "--model", str(self.folder(shape)), "--dtype", dtype, "--train")

    def _worker(self, name: str, script: str, *arguments: str) -> Contender:
        command = [sys.executable, str(WORKERS / script), *arguments, "--threads", str(self.threads)]
        return Contender(name, command, self.threads, self.log)
