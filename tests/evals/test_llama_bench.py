"""llama.cpp beside our own figures: what is asked of it, and what is read of its answers."""

import json
import sys
from pathlib import Path

import pytest

from agent.cli import main
from agent.errors import UsageError
from evals.bench.adapter import BenchFailed
from evals.bench.llama import Llama

BENCH = """
import json, sys
asked = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert (asked["-t"], asked["-o"], asked["-r"]) == ("2", "json", "3")
lengths = asked["-p"] if asked["-p"] != "0" else asked["-d"]
print(json.dumps([
    {"n_prompt": int(n) if asked["-p"] != "0" else 0, "n_depth": int(asked.get("-d") and n or 0),
     "n_gen": int(asked["-n"]), "samples_ts": [200.0, 220.0, 210.0]}
    for n in lengths.split(",")
]))
"""
SERVER = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({"status": "ok"})
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        read, written = len(asked["prompt"]), asked["n_predict"]
        timings = {"prompt_n": read, "predicted_ms": 0.0, "predicted_per_second": 10.0}
        self.answer({"tokens": [7] * written, "timings": timings})
    def answer(self, content):
        text = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_):
        pass
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Answers).serve_forever()
"""


def program(folder: Path, name: str, code: str) -> Llama:
    file = folder / name
    file.write_text(f"#!{sys.executable} -IS\n{code}")
    file.chmod(0o755)
    weights = folder / "q4.gguf"
    weights.touch()
    return Llama(file, weights, num_threads=2)


def test_a_llama_bench_is_asked_for_our_lengths(tmp_path: Path) -> None:
    llama = program(tmp_path, "llama-bench", BENCH)
    read = llama.prefill((512, 2048), num_runs=3)
    assert [(figure.name, figure.at, figure.value) for figure in read] == [
        ("prefill llama.cpp q4", 512, 210.0),
        ("prefill llama.cpp q4", 2048, 210.0),
    ]
    assert (read[0].low, read[0].high, read[0].n, read[0].unit) == (200.0, 220.0, 3, "tok/s")
    written = llama.decode((0, 8192), num_runs=3)
    assert [(figure.name, figure.at) for figure in written] == [
        ("decode llama.cpp q4", 0),
        ("decode llama.cpp q4", 8192),
    ]


def test_a_llama_server_reads_and_writes_the_same(tmp_path: Path) -> None:
    llama = program(tmp_path, "llama-server", SERVER)
    (read,) = llama.prefill((50,), num_runs=2)
    assert (read.at, read.n) == (50, 2)
    assert read.low > 0
    (written,) = llama.decode((0,), num_runs=2)
    assert (written.at, written.value) == (0, 10.0)


def test_what_is_not_there_or_breaks_off_is_one_sentence(tmp_path: Path) -> None:
    llama = program(tmp_path, "llama-bench", "import sys; sys.exit('no such quantization')")
    with pytest.raises(BenchFailed, match="broke off: no such quantization"):
        llama.prefill((512,))
    with pytest.raises(UsageError, match="is no program"):
        Llama(tmp_path / "nothing", llama.weights, 2)
    with pytest.raises(UsageError, match="give weights"):
        Llama(llama.program, tmp_path / "nothing", 2)


def test_what_is_no_program_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("prefill", "decode"):
        assert main(["bench", name, "--shape", "tiny", "--llama", "/nope"]) == 2
        assert "/nope is no program; give a llama-bench" in capsys.readouterr().err
        assert main(["bench", name, "--shape", "tiny", "--gguf", "/nope"]) == 2
        assert "--gguf goes with --llama" in capsys.readouterr().err


@pytest.mark.slow
def test_prefill_has_it_in_the_same_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    llama = program(tmp_path, "llama-bench", BENCH)
    given = ["--llama", str(llama.program), "--gguf", str(llama.weights)]
    words = ["--shape", "tiny", "--prompts", "64", "--runs", "3", "--threads", "2", "--peers"]
    main(["bench", "prefill", *words, *given])
    *_, last = capsys.readouterr().out.strip().splitlines()
    report = json.loads(last)
    (figure,) = [one for one in report["figures"] if "llama.cpp" in one["name"]]
    assert (figure["at"], figure["value"], figure["n"]) == (64, 210.0, 3)
    assert any("as fast as prefill llama.cpp" in one for one in report["beside"]["verdicts"])
