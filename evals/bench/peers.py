"""Other engines behind the benchmark's door: transformers with its cache kept, and llama-server.

transformers appends to the cache of its last reply when a prompt goes on from it, and reads
everything otherwise: its cache cannot be cut back. llama-server is started here, on loopback only,
and asked for token ids through `/completion`.
"""

import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.bench.adapter import Answer, BenchFailed, Restarted
from evals.bench.machine import forget_peak, peak_rss_bytes

START_S = 300.0
"""How long a server may take to load its weights."""
ANSWER_S = 3600.0
"""How long one answer may take."""


class TransformersKept:
    """transformers' own model and `generate`, with the cache that it left kept."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self._cache: Any = None
        self._read: list[int] = []

    def ask(self, ids: Sequence[int], n_gen: int, seed: int = 0) -> Answer:
        """Append to the kept cache if the prompt goes on from it."""
        import torch
        from transformers import DynamicCache, StoppingCriteriaList

        forget_peak()
        prompt, times = list(ids), list[float]()

        def note_time(*_: Any, **__: Any) -> Any:
            times.append(time.perf_counter())
            return torch.zeros(1, dtype=torch.bool)

        started = time.perf_counter()
        if not (0 < len(self._read) < len(prompt) and prompt[: len(self._read)] == self._read):
            self._cache, self._read = DynamicCache(config=self.module.config), []
        num_kept = len(self._read)
        inputs = torch.tensor([prompt])
        torch.manual_seed(seed)
        with torch.inference_mode():
            output = self.module.generate(
                inputs,
                attention_mask=torch.ones_like(inputs),
                past_key_values=self._cache,
                max_new_tokens=n_gen,
                min_new_tokens=n_gen,
                do_sample=seed != 0,
                top_k=0 if seed else None,
                stopping_criteria=StoppingCriteriaList([note_time]),
            )
        line = output[0].tolist()
        self._read = line[:-1]  # the last token was drawn, not read
        return {
            "tokens": line[len(prompt) :],
            "prompt_n": len(prompt) - num_kept,
            "cached_n": num_kept,
            "ttft": times[0] - started,
            "total": time.perf_counter() - started,
            "gen_tok_s": (n_gen - 1) / (times[-1] - times[0]) if n_gen > 1 else None,
            "peak_rss_bytes": peak_rss_bytes(),
        }

    def restart(self) -> Restarted:
        """Lose the cache: it has no form on disk."""
        self.close()
        return {"restart_s": 0.0}

    def close(self) -> None:
        """Give the cache up."""
        self._cache, self._read = None, []


def open_transformers(checkpoint: Path, dtype: str, num_threads: int) -> TransformersKept:
    """Load transformers' own model, untouched by ours.

    Raises:
        BenchFailed: the checkpoint cannot be loaded.
    """
    import torch
    import transformers

    torch.set_num_threads(num_threads)
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        module: Any = transformers.AutoModelForCausalLM.from_pretrained(
            checkpoint, dtype=getattr(torch, dtype), local_files_only=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise BenchFailed(f"transformers cannot load {checkpoint}: {error}") from error
    # Replies have a set length, so nothing ends one: no end-of-text, and none to be suppressed.
    module.generation_config.eos_token_id = None
    engine = TransformersKept(module.eval())
    engine.ask(range(64), 2)  # warm-up
    engine.close()
    return engine


class LlamaServer:
    """A llama-server with one slot, started and ended here."""

    def __init__(self, binary: Path, weights: Path, num_context: int, num_threads: int, log: Path):
        """Start it and wait until it answers.

        Args:
            binary: llama-server.
            weights: a GGUF file with the vocabulary that the token ids are of.
            num_context: the longest prompt with its reply.
            num_threads: for reading and writing.
            log: where its words go; what it saves lies beside it.

        Raises:
            BenchFailed: it does not start.
        """
        self.log = log
        self._port = _free_port()
        threads = str(num_threads)
        self._command = [str(binary), "--model", str(weights), "--ctx-size", str(num_context)]
        self._command += ["--parallel", "1", "--threads", threads, "--threads-batch", threads]
        self._command += ["--host", "127.0.0.1", "--port", str(self._port)]
        self._command += ["--slot-save-path", str(log.parent)]
        self._process = self._start()

    def ask(self, ids: Sequence[int], n_gen: int, seed: int = 0) -> Answer:
        """Ask `/completion`, not streamed: a stream leaves out ids of incomplete characters."""
        forget_peak(self._process.pid)
        body = {
            "prompt": list(ids),
            "n_predict": n_gen,
            "id_slot": 0,
            "cache_prompt": True,
            "ignore_eos": True,
            "return_tokens": True,
            "stream": False,
            "message_delimiters": _DELIMITERS,
        }
        if seed:
            body |= {"samplers": ["temperature"], "temperature": 1.0, "seed": seed}
        else:
            body |= {"samplers": ["top_k"], "top_k": 1, "temperature": 0.0}
        started = time.perf_counter()
        answer = self._call("POST", "/completion", body)
        total = time.perf_counter() - started
        timings = answer["timings"]
        return {
            "tokens": answer["tokens"],
            "prompt_n": timings["prompt_n"],
            "cached_n": len(ids) - timings["prompt_n"],
            "ttft": total - timings["predicted_ms"] / 1000,
            "total": total,
            "gen_tok_s": timings["predicted_per_second"] if n_gen > 1 else None,
            "peak_rss_bytes": peak_rss_bytes(self._process.pid),
        }

    def restart(self) -> Restarted:
        """Save the slot, end the server, start another, load the slot."""
        started = time.perf_counter()
        file = {"filename": "slot.bin"}
        self._call("POST", "/slots/0?action=save", file)
        self.close()
        self._process = self._start()
        self._call("POST", "/slots/0?action=restore", file)
        return {"restart_s": time.perf_counter() - started}

    def close(self) -> None:
        """End the server."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> "subprocess.Popen[bytes]":
        try:
            with self.log.open("ab") as log:
                process = subprocess.Popen(
                    self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
        except OSError as error:
            raise BenchFailed(f"{self._command[0]} cannot be started: {error}") from error
        self._process = process
        deadline = time.monotonic() + START_S
        while not self._is_healthy():
            if process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise BenchFailed(f"{self._command[0]} does not answer: {self._log_end()}")
            time.sleep(0.05)
        return process

    def _is_healthy(self) -> bool:
        try:
            return self._request("GET", "/health", None)[0] == 200
        except OSError:
            return False

    def _call(self, method: str, path: str, body: object) -> Any:
        try:
            status, answer = self._request(method, path, body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise BenchFailed(f"llama-server broke off ({error}): {self._log_end()}") from error
        if status != 200:
            raise BenchFailed(f"llama-server refuses {path}: {json.dumps(answer)[:300]}")
        return answer

    def _request(self, method: str, path: str, body: object) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"{}")
        finally:
            connection.close()

    def _log_end(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"


_DELIMITERS = [
    {"role": role, "delimiter": f"<|im_start|>{role}"} for role in ("system", "user", "assistant")
]
"""What its chat endpoint would send: it keeps copies of its state where messages begin."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_program(file: Path) -> bool:
    """Tell whether a file can be run."""
    return file.is_file() and os.access(file, os.X_OK)
