"""Record the picture of a demo for the README: a real run, as an SVG.

python -m evals.record docs/demo.svg [--seed N]
"""

import argparse
import io
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console as RichConsole

from agent.events import Event
from agent.frontends.console import Line, last_lines, lines_of
from agent.frontends.usage import LastReplies
from agent.outcome import FixOutcome
from evals.demo import draw_seed, run_demo

COLUMNS = 100


class Recorder:
    """A console that remembers what it would have shown on a terminal."""

    def __init__(self) -> None:
        self._replies = LastReplies()
        self.console = RichConsole(
            record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False
        )

    def show(self, event: Event) -> None:
        """Remember the lines of one event."""
        self._print(lines_of(event, self._replies.before(event)))

    def finish(self, outcome: FixOutcome) -> None:
        """Remember what the run came to."""
        self._print(last_lines(outcome))

    def _print(self, lines: Iterable[Line]) -> None:
        for style, text in lines:
            self.console.print(text, style=style, markup=False)


def main() -> int:
    """Run a demo and write the picture if it ended green."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("--seed", type=int)
    arguments = parser.parse_args()
    recorder = Recorder()
    recorder.console.print("$ make demo", style="bold")
    seed = draw_seed() if arguments.seed is None else arguments.seed
    with tempfile.TemporaryDirectory(prefix="qwen-agent-demo-") as folder:
        code = run_demo(seed, 5, Path(folder) / "project", recorder)
    if code == 0:
        recorder.console.save_svg(str(arguments.picture), title="qwen-agent demo")
    return code


if __name__ == "__main__":
    sys.exit(main())
