"""`qwen-agent`: arguments to a front end. It imports nothing heavy, so that `--help` is quick."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path

DISTRIBUTION = "qwen-agent-local"
COMMANDS_GROUP = "qwen_agent.commands"
EPILOG = """exit codes of fix:
  0 fixed, tests green      3 tests still red     6 denied, or no sandbox
  1 internal error          4 nothing changed     7 no model or engine
  2 usage or configuration  5 budget spent      130 cancelled
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    code: int = arguments.run(arguments)
    return code


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the arguments; `run` of the result carries them out."""
    parser = _parser(list(words))

    def show_help(_arguments: argparse.Namespace) -> int:
        parser.print_help()
        return 0

    parser.set_defaults(run=show_help)
    return parser.parse_args(words)


def _parser(words: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qwen-agent",
        description="A coding agent that runs on your own Qwen model, with the engine inside.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    fix = commands.add_parser("fix", help="repair a repository until its tests pass", epilog=EPILOG)
    fix.formatter_class = argparse.RawDescriptionHelpFormatter
    _add_fix_arguments(fix)
    fix.set_defaults(run=_fix)
    doctor = commands.add_parser("doctor", help="say what works on this machine")
    doctor.set_defaults(run=_doctor)
    models = commands.add_parser("models", help="list the models that can be used here")
    models.set_defaults(run=_models)
    sessions = commands.add_parser("sessions", help="list past runs, or show one")
    sessions.add_argument("action", choices=("list", "show"), nargs="?", default="list")
    sessions.add_argument("id", nargs="?", help="the session to show; the last one if left out")
    sessions.set_defaults(run=_sessions)
    for entry in entry_points(group=COMMANDS_GROUP):
        _add_foreign(commands, entry, words)
    return parser


def _add_fix_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("path", nargs="?", type=Path, default=Path(), help="a folder in a git repository")
    add("--issue", metavar="TEXT|@FILE|-", help="what is wrong, in words")
    add("--test-cmd", metavar="CMD", help="how to run the tests; found out if left out")
    add("--tests", nargs="+", metavar="ID", help="the red tests to mend; all if left out")
    add("--model", metavar="auto|nano|FOLDER|HUB-ID", help="the model; auto never picks nano")
    add("--max-turns", type=int, metavar="N", help="replies of the model in one attempt")
    add("--max-time", type=float, metavar="S", help="seconds for the whole run")
    add("--max-tokens", type=int, metavar="N", help="tokens read and written, in all")
    add("--attempts", type=int, default=1, metavar="N", help="tries until one is green")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object at the end")
    form.add_argument("--stream-json", action="store_true", help="print each event as a JSON line")
    add("--patch", type=Path, metavar="FILE", help="also write the patch here")
    add("--seed", type=int, default=0, metavar="N", help="of the attempts after the first")
    add("--python", type=Path, metavar="FILE", help="the interpreter that runs the tests")
    add("--dry-run", action="store_true", help="make the patch, leave the repository as it is")
    add("--resume", nargs="?", const="", metavar="ID", help="go on with an interrupted session")
    add("--no-reuse", action="store_true", help="prefill everything each time, to compare")
    add(
        "--sandbox",
        choices=("bubblewrap", "direct"),
        default="bubblewrap",
        help="direct: no isolation, the model's commands run as you",
    )


def _add_foreign(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    entry: EntryPoint,
    words: list[str],
) -> None:
    """Offer a command of another room; it is imported only when it is the one that was typed."""
    if entry.name not in words[:1]:
        commands.add_parser(entry.name, help=f"see `qwen-agent {entry.name} --help`")
        return
    command = entry.load()
    parser = commands.add_parser(entry.name, help=command.help, description=command.help)
    command.add_arguments(parser)
    parser.set_defaults(run=command.run)


def _version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "(not installed)"


def _fix(arguments: argparse.Namespace) -> int:
    from agent.frontends.fix import run

    return run(arguments)


def _doctor(_arguments: argparse.Namespace) -> int:
    from agent.frontends.inspect import doctor

    return doctor()


def _models(_arguments: argparse.Namespace) -> int:
    from agent.frontends.inspect import models

    return models()


def _sessions(arguments: argparse.Namespace) -> int:
    from agent.frontends.inspect import sessions

    return sessions(arguments.action, arguments.id or "")


if __name__ == "__main__":
    sys.exit(main())
