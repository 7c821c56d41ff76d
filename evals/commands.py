"""The sub-commands that evals adds to `qwen-agent`: `demo`, `eval` and `bench`.

`agent` may not import `evals`, so its command line finds these through the entry points of the
installed package. Importing this file is cheap; torch is loaded when a command runs.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from evals.numbers import count, seed, seeds, temperature


class DemoCommand:
    """`qwen-agent demo`: a repository nobody has seen, repaired by the bundled nano model."""

    help = "watch the bundled nano model repair a freshly generated repository"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument(
            "--seed", type=seed, help="of the repository; without it one is drawn at random"
        )
        parser.add_argument(
            "--attempts", type=count, default=5, help="one greedy, the others sampled (default 5)"
        )
        parser.add_argument(
            "--keep", type=Path, metavar="FOLDER", help="leave the repository in this new folder"
        )

    def run(self, arguments: argparse.Namespace) -> int:
        """Generate, show and repair; return the exit code of `fix`."""
        from agent.frontends.console import open_console
        from evals.demo import draw_seed, run_demo

        drawn = draw_seed() if arguments.seed is None else arguments.seed
        if arguments.keep is not None:
            if arguments.keep.exists():
                print(f"qwen-agent: {arguments.keep} exists; name a new folder.", file=sys.stderr)
                return 2
            console = open_console(sys.stdout)
            return run_demo(drawn, arguments.attempts, arguments.keep, console)
        with tempfile.TemporaryDirectory(prefix="qwen-agent-demo-") as folder:
            console = open_console(sys.stdout)
            return run_demo(drawn, arguments.attempts, Path(folder) / "project", console)


class EvalCommand:
    """`qwen-agent eval nano|run|report|compare`: how much of what was broken is repaired?"""

    help = "measure: `eval run SUITE` runs the whole agent on tasks, `eval compare` two such runs"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        from evals import run_arguments as run

        evals = parser.add_subparsers(dest="eval", required=True, metavar="EVAL")
        _add_nano(evals.add_parser("nano", help="generated repositories, one a seed, in one table"))
        run.add_run_arguments(evals.add_parser("run", help="a suite, in a folder of its own"))
        run.add_report_arguments(evals.add_parser("report", help="what a run came to, as pages"))
        run.add_compare_arguments(evals.add_parser("compare", help="two runs, task by task"))

    def run(self, arguments: argparse.Namespace) -> int:
        """Run it; exit code 0 once every task was tried, however it went."""
        if arguments.eval == "nano":
            from evals.nano.suite import run_suite

            return run_suite(arguments)
        from evals import run_command

        commands = {
            "run": run_command.run_command,
            "report": run_command.report_command,
            "compare": run_command.compare_command,
        }
        return commands[arguments.eval](arguments)


class BenchCommand:
    """`qwen-agent bench NAME`: how fast and how well, measured on this machine."""

    help = "measure this machine: speed, memory, reuse, quality; see `qwen-agent bench --help`"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        from evals.bench import suite

        suite.add_arguments(parser)

    def run(self, arguments: argparse.Namespace) -> int:
        """Run it; exit code 0 once it went through and no goal was missed."""
        from evals.bench import suite

        return suite.run(arguments)


def _add_nano(nano: argparse.ArgumentParser) -> None:
    from evals.tasks.nano import SEEDS

    nano.add_argument(
        "--seeds", type=seeds, default=SEEDS, metavar="A:B",
        help="first and one past the last; from 900000 on they are held out of training",
    )  # fmt: skip
    nano.add_argument("--json", type=Path, metavar="FILE", help="write the whole report here")
    nano.add_argument("--model", default="nano", help="nano (default) or a checkpoint folder")
    nano.add_argument("--attempts", type=count, default=1, help="attempts a repository")
    nano.add_argument("--seed", type=seed, default=0, help="of the sampled attempts")
    nano.add_argument("--bugs", type=count, default=1, help="of every repository (default 1)")
    nano.add_argument(
        "--temperature", type=temperature, metavar="T",
        help="of every attempt; without it the first is greedy and later ones are sampled",
    )  # fmt: skip
    nano.add_argument(
        "--compare", action="store_true",
        help="run one greedy attempt too, on the same seeds, and say what the others gain; "
        "seeds that are in the file of --json already are not run again",
    )  # fmt: skip
    nano.add_argument(
        "--no-reuse", action="store_true", help="prefill the whole conversation every time"
    )


demo = DemoCommand()
evaluate = EvalCommand()
bench = BenchCommand()
