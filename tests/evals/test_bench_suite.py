"""Benchmarks by name, what is counted beside them, and the pages that keep what they find."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from agent.arguments import Parser
from agent.errors import UsageError
from evals.bench import suite
from evals.bench.keep import NothingToKeep, keep
from evals.bench.plot import plot
from evals.bench.random_model import random_model
from evals.bench.roofline import (
    Ceilings,
    Figure,
    Report,
    decode_work,
    measure_ceilings,
    prefill_work,
)
from evals.bench.shapes import SHAPES
from inference.footprint import Footprint
from inference.quantize import stacks_of
from inference.shapes import shape_of

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
FIGURES = [
    Figure.of("ours", [9.0, 10.0, 12.0], "tok/s", 20.0, 0),
    Figure.of("ours", [5.0], "tok/s", 10.0, 8192),
    Figure.of("fork", [0.5, 0.7], "ms"),
]


def footprint_of(name: str) -> Footprint:
    return Footprint(shape_of(SHAPES[name].config().to_dict()), value_bytes=4, is_gpu=False)


def answered(*words: str) -> int:
    parser = Parser()
    suite.add_arguments(parser)
    return suite.run(parser.parse_args(words))


@pytest.mark.parametrize("name", suite.BENCHES)
def test_every_name_leads_to_a_benchmark(name: str) -> None:
    source = ROOT / "evals" / "bench" / f"{suite.BENCHES[name][0]}.py"
    functions = {node.name for node in ast.parse(source.read_text()).body if hasattr(node, "name")}
    assert {"add_arguments", "run"} <= functions
    assert f"| `qwen-agent bench {name}" in (ROOT / "docs" / "bench.md").read_text()


def test_the_names_are_shown_without_torch() -> None:
    code = (
        "import contextlib, sys, agent.cli\n"
        "with contextlib.suppress(SystemExit): agent.cli.main(['bench', '--help'])\n"
        "print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    lines = done.stdout.splitlines()
    assert lines[-1] == "False"
    assert all(any(line.startswith(f"  {name} ") for line in lines) for name in suite.BENCHES)


def test_what_a_benchmark_prints_last_is_kept(tmp_path: Path, capsys: Any) -> None:
    words = ["--keep", str(tmp_path), "outline", "--files", "20", "--rounds", "1"]
    assert answered(*words) == 0
    printed = capsys.readouterr().out
    assert "20 files" in printed
    kept = json.loads((tmp_path / "outline.json").read_text())
    assert kept.items() >= json.loads(printed.splitlines()[-1]).items()
    assert kept["load"] >= 0
    page = (tmp_path / "outline.md").read_text()
    assert "`qwen-agent bench outline --files 20 --rounds 1`" in page


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "folder", Path("/proc")):
        with pytest.raises(OSError, match=re.escape(f"'{place}'")):
            answered("--keep", str(place), "outline", "--files", "20")
    assert capsys.readouterr().out == ""


def test_without_a_name_all_names_are_told() -> None:
    with pytest.raises(UsageError, match="name a benchmark: trace, prefill, decode, "):
        answered()
    with pytest.raises(UsageError, match="invalid choice: 'speed'"):
        answered("speed")


@pytest.mark.parametrize("line", ["", "done", "[1]", '{"figures": []}'])
def test_what_is_no_report_is_not_kept(line: str, tmp_path: Path) -> None:
    with pytest.raises(NothingToKeep):
        keep(line, "qwen-agent bench x", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_report_becomes_a_page_with_a_plot_and_is_listed(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# All\n\n## Results\n\nold\n")
    for name, text in {"a": "{}", "b": "[1]", "c": "no JSON", "d": '{"bench": "prefill"}'}.items():
        (tmp_path / f"{name}.json").write_text(text)  # of somebody else
    report = Report("prefill", FIGURES, Ceilings(1e10, {"float32": 5e10}), {"shape": "tiny"})
    page = keep(report.json(), "qwen-agent bench prefill", tmp_path).read_text()
    assert "| ours | 0 | 10 tok/s | 9 - 12 | 3 | 20 | 50% |" in page
    assert "| fork |  | 0.6 ms | 0.5 - 0.7 | 2 |  |  |" in page
    assert "float32 50 GFLOPS, memory 10.0 GB/s" in page
    assert "(prefill.svg)" in page
    assert (tmp_path / "prefill.svg").exists()
    index = (tmp_path / "README.md").read_text()
    assert "[prefill](prefill.md): " in index
    assert index.count("\n- ") == 1
    assert "old" not in index


def test_a_plot_has_a_line_for_what_was_measured_at_several_lengths() -> None:
    root = ElementTree.fromstring(plot("prefill", FIGURES))
    texts = [node.text for node in root.iter() if node.tag.endswith("text")]
    assert "ours" in texts
    assert "fork" not in texts
    assert {"0", "8K"} <= {*texts}
    assert plot("prefill", FIGURES[1:]) == ""


@pytest.mark.parametrize("name", ["tiny", "tiny-moe"])
def test_the_operations_of_a_forward_are_those_that_torch_counts(name: str) -> None:
    num_tokens = 70  # more than are computed outside of torch
    model = random_model(SHAPES[name].config(), CPU, torch.float32, "int8", "int8")
    for stack in stacks_of(model.module).values():
        stack.kernels = None  # torch does not count what is not its own
    with FlopCounterMode(display=False) as counter:
        model.forward(list(range(num_tokens)), model.new_state())
    counts = {str(op): count for op, count in counter.get_flop_counts()["Global"].items()}
    dense = sum(count for op, count in counts.items() if op in ("aten.mm", "aten.addmm"))
    work = prefill_work(footprint_of(name), num_tokens)
    parts = footprint_of(name).shape.parts
    convolved = sum(part.num_values for part in parts if part.shape[1:] == (1, 4))
    assert work.linear_flops - 2 * num_tokens * convolved == dense


def test_a_written_token_reads_every_weight_once() -> None:
    footprint = footprint_of("tiny")
    model = random_model(SHAPES["tiny"].config(), CPU, torch.float32, "nf4", "int8")
    work = decode_work(footprint, 0, "nf4", "int8")
    assert work.weight_bytes == pytest.approx(model.weights_nbytes, rel=0.002)
    later = decode_work(footprint, 1000, "nf4", "int8")
    assert later.kv_bytes - work.kv_bytes == 1000 * footprint.kv_of_a_token("int8")
    experts = decode_work(footprint_of("tiny-moe"), 0).weight_bytes
    assert experts < decode_work(footprint_of("tiny-moe"), 0, num_rows=4).weight_bytes
    assert prefill_work(footprint_of("tiny-moe"), 4).weight_bytes > experts


def test_ceilings_are_measured_and_the_tighter_one_counts() -> None:
    shape = footprint_of("tiny").shape
    ceilings = measure_ceilings(shape, read_bytes=1 << 20, num_rows=64)
    assert ceilings.bytes_per_s > 1e8
    assert all(flops > 1e6 for flops in ceilings.flops_per_s.values())
    work = prefill_work(footprint_of("tiny"), 64)
    fast_memory = Ceilings(1e30, {"float32": 1e9})
    fast_products = Ceilings(1e9, {"float32": 1e30})
    assert fast_memory.seconds(work, torch.float32) == work.flops / 1e9
    assert fast_products.seconds(work, torch.float32) == work.num_bytes / 1e9


def test_the_share_of_a_time_is_of_the_least_time() -> None:
    assert Figure.of("a", [4.0, 5.0, 9.0], "tok/s", 20.0).share == 0.25
    assert Figure.of("a", [4.0, 5.0, 9.0], "ms", 2.0).share == 0.4
    assert Figure.of("a", [4.0], "ms").share is None
