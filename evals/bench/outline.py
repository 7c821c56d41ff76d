"""How long does `outline` take for the map of a large repository, and after one file changed?

Method: a generated tree of 5,000 files in four languages, some 75 lines each, whose functions call
functions of other files, some far more often than others. The first map is drawn by a fresh tool,
with grammars loaded and files cached by the system; then a function is added to the file
that most others use, and the map is drawn again. 3 rounds of both, median and range.
Goals: 10 s and 0.3 s. Clock: perf_counter around the call, and the processor's time beside it,
which other programs on the machine do not lengthen. Last line: JSON, figures and machine.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from evals.bench.arguments import count, run_alone
from evals.bench.machine import describe_machine, rss_bytes, timed
from sandbox.workspace import Workspace
from tools.outline import Outline

NUM_FILES = 5_000
NUM_ROUNDS = 3
FUNCTIONS = (3, 11)
"""How many a file has, at least and at most."""
FOLDER_SIZE = 40

HEADS = {
    "py": "from __future__ import annotations\n\nimport os\n",
    "ts": 'import * as fs from "fs";\n',
    "go": 'package shop\n\nimport "fmt"\n',
    "java": "package shop;\n\nimport java.util.List;\n",
}
IMPORTS = {
    "py": "from shop.{module} import {callee}\n",
    "ts": 'import {{ {callee} }} from "../{module}";\n',
    "go": "// uses {callee}\n",
    "java": "import static shop.{module}.{callee};\n",
}
FUNCTION = {
    "py": '''

def {name}(rows: list[int], limit: int = {number}) -> int:
    """Sum up rows until the limit."""
    total = 0
    for index, row in enumerate(rows):
        if row > limit or index % 7 == 3:
            total += {callee}([row, limit], limit - 1)
        else:
            total -= row * 2
    return total if total < limit else limit
''',
    "ts": """
export function {name}(rows: number[], limit = {number}): number {{
  // Sum up rows until the limit.
  let total = 0;
  for (const row of rows) {{
    if (row > limit) {{
      total += {callee}([row, limit], limit - 1);
    }} else {{
      total -= row * 2;
    }}
  }}
  return Math.min(total, limit);
}}
""",
    "go": """
func {name}(rows []int, limit int) int {{
	total := {number}
	for _, row := range rows {{
		if row > limit {{
			total += {callee}([]int{{row, limit}}, limit-1)
		}} else {{
			total -= row * 2
		}}
	}}
	fmt.Println(total)
	return total
}}
""",
    "java": """
    public static int {name}(List<Integer> rows, int limit) {{
        int total = {number};
        for (int row : rows) {{
            if (row > limit) {{
                total += {callee}(List.of(row, limit), limit - 1);
            }} else {{
                total -= row * 2;
            }}
        }}
        return Math.min(total, limit);
    }}
""",
}
SUFFIXES = ("py", "py", "py", "py", "ts", "ts", "ts", "go", "go", "java")
"""Four files of ten are Python, and so on."""


def make_tree(root: Path, num_files: int, seed: int) -> tuple[int, int]:
    """Write the files; return how many lines and bytes they have."""
    draw = Random(seed)
    names: dict[str, list[str]] = {suffix: [] for suffix in HEADS}
    num_lines = num_bytes = 0
    for number in range(num_files):
        suffix = SUFFIXES[number % len(SUFFIXES)]
        text = _source(draw, suffix, number, names[suffix])
        path = root / f"part{number // FOLDER_SIZE}" / f"module{number}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        num_lines += text.count("\n")
        num_bytes += len(text)
    (root / ".gitignore").write_text("*.log\nbuild/\n/out\n*.tmp\n.venv/\n")
    return num_lines, num_bytes


def _source(draw: Random, suffix: str, number: int, known: list[str]) -> str:
    """Write one file, whose functions call some of those known, and add its own to them."""
    imports, functions = [], []
    own = [f"compute{number}x{index}" for index in range(draw.randint(*FUNCTIONS))]
    for name in own:
        # The square makes the first of them the most popular.
        callee = known[int(len(known) * draw.random() ** 2)] if known else name
        words = {"name": name, "callee": callee, "number": number}
        module = f"module{callee[7:].partition('x')[0]}"
        imports.append(IMPORTS[suffix].format(module=module, callee=callee))
        functions.append(FUNCTION[suffix].format(**words))
    known += own
    body = "".join(functions)
    if suffix == "java":
        body = f"\npublic class Module{number} {{{body}}}\n"
    return HEADS[suffix] + "".join(imports) + body


def measure(root: Path) -> dict[str, tuple[float, float]]:
    """Draw the first map with a fresh tool, then one after a change."""
    outline = Outline(Workspace(root, Path("/workspace")))
    first = timed(lambda: outline.run({}))
    changed = root / "part0" / "module0.py"
    added = f"\n\ndef added{time.time_ns()}() -> int:\n    return 1\n"
    changed.write_text(changed.read_text() + added)
    return {"first": first, "changed": timed(lambda: outline.run({}))}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--files", type=count, default=NUM_FILES)
    parser.add_argument("--rounds", type=count, default=NUM_ROUNDS)
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> int:
    """Generate, measure and print."""
    with tempfile.TemporaryDirectory(prefix="qwen-agent-outline-") as folder:
        root = Path(folder)
        num_lines, num_bytes = make_tree(root, arguments.files, arguments.seed)
        print(f"{arguments.files} files, {num_lines} lines, {num_bytes / 2**20:.1f} MiB")
        measure(root)  # loads the grammars and warms the file cache
        before = rss_bytes()
        rounds = [measure(root) for _ in range(arguments.rounds)]
    figures: dict[str, object] = {}
    for name in ("first", "changed"):
        for column, clock in enumerate(("clock", "processor")):
            seconds = sorted(one[name][column] for one in rounds)
            median = statistics.median(seconds)
            print(f"{name:8} {clock:9} {median:7.3f} s  ({seconds[0]:.3f} - {seconds[-1]:.3f})")
            figures[f"{name}_{clock}_s"] = [round(one, 4) for one in (median, *seconds)]
    figures |= {"num_lines": num_lines, "num_bytes": num_bytes, "rss_bytes": rss_bytes()}
    print(f"memory   {rss_bytes() / 2**20:.0f} MiB held, {before / 2**20:.0f} MiB before")
    sizes = {"num_files": arguments.files, "num_rounds": arguments.rounds}
    print(json.dumps({"bench": "outline"} | sizes | figures | {"machine": describe_machine(1)}))
    return 0


if __name__ == "__main__":
    sys.exit(run_alone(__doc__, add_arguments, run))
