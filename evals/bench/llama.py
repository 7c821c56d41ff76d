"""llama.cpp's speed in the same run: of a llama-bench or a llama-server that the user gives.

Both read and write here what our own engine does: prompts of the same lengths, tokens at the same
depths, with as many threads. How a server is started and asked is `peers.py`.
"""

import argparse
import json
import random
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import UsageError
from evals.bench.adapter import BenchFailed
from evals.bench.peers import LlamaServer, is_program
from evals.bench.roofline import NUM_RUNS, Figure

NUM_WRITTEN = 32
LIMIT_S = 3600.0
"""How long a llama-bench may take for all that it is asked."""
SPARE_TOKENS = 64
SAFE_IDS = range(1000, 100_000)
"""Plain words in the vocabularies of the family."""


@dataclass(frozen=True)
class Llama:
    """A program of llama.cpp, and the weights that it is measured on."""

    program: Path
    weights: Path
    num_threads: int

    def __post_init__(self) -> None:
        """Look at what was given.

        Raises:
            UsageError: the program or the weights are not there.
        """
        if not is_program(self.program):
            raise UsageError(f"{self.program} is no program; give a llama-bench or llama-server")
        if not self.weights.is_file():
            raise UsageError(f"there is no file {self.weights}; give weights with --gguf")

    @property
    def name(self) -> str:
        """What its figures are called."""
        return f"llama.cpp {self.weights.stem}"

    def prefill(self, lengths: Sequence[int], num_runs: int = NUM_RUNS) -> list[Figure]:
        """Measure how fast prompts of these lengths are read.

        Raises:
            BenchFailed: it broke off.
        """
        if self._is_server:
            return self._of_server("prefill", lengths, num_runs)
        asked = ["-p", _joined(lengths), "-n", "0"]
        return self._of_bench("prefill", "n_prompt", asked, num_runs)

    def decode(self, depths: Sequence[int], num_runs: int = NUM_RUNS) -> list[Figure]:
        """Measure how fast tokens are written after so many.

        Raises:
            BenchFailed: it broke off.
        """
        if self._is_server:
            return self._of_server("decode", depths, num_runs)
        asked = ["-p", "0", "-n", str(NUM_WRITTEN), "-d", _joined(depths)]
        return self._of_bench("decode", "n_depth", asked, num_runs)

    @property
    def _is_server(self) -> bool:
        return "server" in self.program.name

    def _of_bench(self, what: str, field: str, asked: Sequence[str], num_runs: int) -> list[Figure]:
        runs = ["-r", str(num_runs), "-t", str(self.num_threads), "-o", "json"]
        command = [str(self.program), "-m", str(self.weights), *asked, *runs]
        rows = _rows(command)
        name = f"{what} {self.name}"
        try:
            return [Figure.of(name, row["samples_ts"], "tok/s", at=row[field]) for row in rows]
        except (KeyError, TypeError) as error:
            raise BenchFailed(f"{self.program} prints no {error}.") from error

    def _of_server(self, what: str, lengths: Sequence[int], num_runs: int) -> list[Figure]:
        name = f"{what} {self.name}"
        with tempfile.TemporaryDirectory(prefix="qwen-agent-llama-") as folder:
            context = max(lengths) + NUM_WRITTEN + SPARE_TOKENS
            log = Path(folder) / "log"
            server = LlamaServer(self.program, self.weights, context, self.num_threads, log)
            try:
                ask = _read if what == "prefill" else _write
                return [
                    Figure.of(
                        name, [ask(server, n, seed) for seed in range(num_runs)], "tok/s", at=n
                    )
                    for n in lengths
                ]
            finally:
                server.close()


def llama_of(arguments: argparse.Namespace) -> Llama | None:
    """Return the program that `add_llama` asked for; None where none was given.

    Raises:
        UsageError: it or its weights are not there.
    """
    if arguments.llama is None:
        if arguments.gguf is not None:
            raise UsageError("--gguf goes with --llama, the program that reads it")
        return None
    return Llama(arguments.llama, arguments.gguf or Path(), arguments.threads)


def _read(server: LlamaServer, num_tokens: int, seed: int) -> float:
    """Have a prompt read that was not read before; return tokens a second."""
    answer = server.ask(_ids(num_tokens, f"read {seed}"), 1)
    return answer["prompt_n"] / answer["ttft"]


def _write(server: LlamaServer, num_tokens: int, _seed: int) -> float:
    """Have tokens written after some; the prompt is read the first time only."""
    speed = server.ask(_ids(max(1, num_tokens), "write"), NUM_WRITTEN)["gen_tok_s"]
    assert speed is not None, "more than one token is written"
    return speed


def _ids(num_tokens: int, seed: str) -> list[int]:
    return random.Random(seed).choices(SAFE_IDS, k=num_tokens)


def _joined(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _rows(command: Sequence[str]) -> list[dict[str, Any]]:
    """Run a llama-bench; return what it prints."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S
        )
        rows = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchFailed(f"{command[0]} cannot be run: {error}") from error
    except ValueError as error:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BenchFailed(f"{command[0]} broke off: {last}") from error
    return list(rows)
