"""`qwen-agent demo`: one repair to watch, on a repository that did not exist a second ago."""

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from agent.events import Notice
from agent.fix import run_fix
from agent.frontends.console import Console
from agent.frontends.fix import interrupts
from agent.outcome import FixOutcome
from evals.nano.corpus import generate
from evals.nano.evaluate import Settings, lay_out, request_for
from evals.nano.plain_python import make_plain_python

SEED_BYTES = 3
"""16.7 million repositories, none of which training can have seen: its seeds end at 900,000."""


def draw_seed() -> int:
    """Draw the seed of a repository that nobody has seen."""
    return 1_000_000 + int.from_bytes(os.urandom(SEED_BYTES))


def run_demo(seed: int, attempts: int, folder: Path, console: Console) -> int:
    """Generate a repository in `folder`, a new one, and repair it in front of the person."""
    repository = generate(seed)
    folder.mkdir(parents=True)
    lay_out(repository, folder)
    num_lines = sum(text.count("\n") for text in repository.files.values())
    for line in (
        "nano is a Qwen3.5-architecture model of a few million parameters, made for this demo.",
        f"Seed {seed}: {len(repository.files)} files, {num_lines} lines, one bug. "
        f"The same again: qwen-agent demo --seed {seed}",
    ):
        console.show(Notice(line))
    with interrupts() as cancel, tempfile.TemporaryDirectory(prefix="qwen-agent-") as place:
        python = make_plain_python(Path(place, "python"))
        request = request_for(folder, Settings(attempts=attempts, seed=seed), python)
        run = run_fix(request, cancel, state=Path(place, "state"))
        while True:
            try:
                console.show(next(run))
            except StopIteration as stop:
                outcome: FixOutcome = stop.value
                break
    console.finish(replace(outcome, patch_file=None))  # it goes with the temporary folder
    if outcome.exit_code != 0:
        print(f"qwen-agent: {outcome.sentence}", file=sys.stderr)
    return outcome.exit_code
