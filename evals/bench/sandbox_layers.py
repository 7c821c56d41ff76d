"""Which attacks get through when one layer of the sandbox is missing?

Method: the attack cases of tests/sandbox, run once whole and once without each layer; a case counts
for a layer if it fails without it alone. Layers overlap on purpose: where others would stand in,
they are left out too, and the same cases are run with those others missing to see that they pass.

    python -m evals.bench.sandbox_layers            # writes docs/sandbox-layers.md
    python -m evals.bench.sandbox_layers seccomp    # one layer, to the screen
"""

import os
import re
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from sandbox.bwrap import LAYERS

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "sandbox-layers.md"
COVERED_BY = {"capabilities": ("uid", "seccomp"), "proc": ("uid",)}
"""Layers that would stand in for one: left out together with it."""
TOO_MUCH = "a18_a_fork_bomb or a20 or a21 or a56"
"""Cases that say nothing of most layers and take long."""
ONLY = {"limits": "a18_number or a19", "sweep": "a22 or a23 or a56"}
"""What is run for a layer that such cases are about, and is harmless without it."""
OTHERS = f"not ({TOO_MUCH})"
WITNESSES = {
    "view": "a04", "capabilities": "a13", "network": "a07", "proc": "a03", "environment": "a05",
    "git": "a25", "seccomp": "a10", "uid": "a18_number", "limits": "a18_number", "sweep": "a56",
}  # fmt: skip
"""One case a layer that fails without it, for a test that this stays so."""

HEAD = """# Layers of the sandbox, and the attacks that each one stops

Written by `python -m evals.bench.sandbox_layers`, which runs the attack cases of `tests/sandbox`
with one layer left out at a time. The letters are those of the tests' names. A case that fails
without a layer shows that the layer works and that the case can fail. Where layers overlap, the
others are left out too; with only those left out, none of the cases in the row fails.

Each case runs as root (level `full`) and as an ordinary user (level `namespaces`).

"""


def main() -> int:
    """Run the cases; write the page, or print the rows that were asked for."""
    wanted = sys.argv[1:] or list(LAYERS)
    rows = [row(layer) for layer in wanted]
    table = ["| layer | what it is | left out with it | cases that fail without it |",
             "| --- | --- | --- | --- |", *rows, ""]  # fmt: skip
    if sys.argv[1:]:
        print("\n".join(table))
    else:
        PAGE.write_text(HEAD + "\n".join(table), encoding="utf-8")
    return 0


def row(layer: str) -> str:
    """Measure one layer and give its line of the table."""
    others, asked = COVERED_BY.get(layer, ()), ONLY.get(layer, OTHERS)
    cases = failures((layer, *others), asked) - (failures(others, asked) if others else set())
    print(f"{layer}: {len(cases)} cases", file=sys.stderr)
    return f"| {layer} | {LAYERS[layer]} | {', '.join(others)} | {', '.join(sorted(cases))} |"


def failures(without: Collection[str], asked: str) -> set[str]:
    """Run cases, chosen as pytest's -k does, without layers; name those that fail, and for whom."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", "-rfE",
         "-m", "attack", "-k", asked, "tests/sandbox"],
        cwd=REPOSITORY,
        env={**os.environ, "SANDBOX_WITHOUT": ",".join(without)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    found = re.findall(r"^(?:FAILED|ERROR) \S*::test_(a\d+)_\w*(?:\[(\w+)\])?", done.stdout, re.M)
    return {f"{case.upper()} {who}" if who in ("root", "user") else case.upper()
            for case, who in found}  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
