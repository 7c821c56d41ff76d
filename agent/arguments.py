"""The command line of `qwen-agent`, declared; it carries nothing out and imports nothing heavy."""

import argparse
from collections.abc import Collection, Iterable, Sequence
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any, NoReturn

from agent.errors import UsageError

DISTRIBUTION = "qwen-agent-local"
COMMANDS_GROUP = "qwen_agent.commands"
TALK = "talk"
HELP = "help"
"""`help fix` is `fix --help`."""
OWN_FLAGS = ("-h", "--help", "-V", "--version")
"""Those that are not for a talk, when no command is named."""
KV_KINDS = ("auto", "16bit", "int8", "int4")
KV_HELP = "how keys and values are kept; auto: int8 on a GPU, 16 bits or more on a CPU"
ENGINE_HELP = "a server that answers instead (vLLM, SGLang, llama.cpp, ...); --model is one of its"
EPILOG = """exit codes of fix:
  0 fixed, tests green      3 tests still red     6 denied, or no sandbox
  1 internal error          4 nothing changed     7 no model or engine
  2 usage or configuration  5 budget spent      130 cancelled
"""


class Parser(argparse.ArgumentParser):
    """One whose complaints are exceptions: who asked for JSON gets even these as JSON."""

    def error(self, message: str) -> NoReturn:
        """Refuse the words.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{message}; see `{self.prog} --help`")

    def parse_known_args(
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Know them all: a command would let its parent complain, whose help says less.

        Raises:
            UsageError: one is not known.
        """
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the words; `command` of the result says which command they are for.

    Words that begin with no command are for a talk, in the folder that they may begin with.

    Raises:
        UsageError: they cannot be meant.
        SystemExit: they asked for help or the version, which has been printed.
    """
    words = list(words)
    if words[:1] == [HELP]:
        words = [*words[1:2], "--help"]
    parser, commands = _parser(words)
    return parser.parse_args([TALK, *words] if _is_talk(words, commands) else words)


def _is_talk(words: list[str], commands: Collection[str]) -> bool:
    """Say whether a talk is meant by words that do not say so.

    Raises:
        UsageError: the first word is neither a command nor a folder.
    """
    first = words[0] if words else ""
    if first in commands or first in OWN_FLAGS:
        return False
    if not first or first.startswith("-") or "/" in first or Path(first).is_dir():
        return True
    from difflib import get_close_matches

    near = get_close_matches(first, commands, 1)
    hint = f"did you mean `qwen-agent {near[0]}`?" if near else "see `qwen-agent --help`"
    raise UsageError(f"there is no command and no folder {first!r}; {hint}")


def _parser(words: list[str]) -> tuple[argparse.ArgumentParser, Collection[str]]:
    """Declare all there is; return it with the names of the commands."""
    parser = Parser(
        prog="qwen-agent",
        description="A coding agent that runs on your own Qwen model, with the engine inside.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-V", "--version", action="version", version=f"%(prog)s {_version()}")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", required=True
    )
    fix = commands.add_parser(
        "fix",
        help="repair a repository until its tests pass",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # a script that says --js would break with the next option
    )
    _add_fix_arguments(fix)
    talk = "talk about a repository; `qwen-agent` alone and `qwen-agent PATH` mean this, unless "
    talk += "PATH is the name of a command"
    _add_talk_arguments(commands.add_parser(TALK, help=talk, description=talk))
    _add_acp_arguments(
        commands.add_parser("acp", help="serve an editor: the Agent Client Protocol on stdio")
    )
    _add_doctor_arguments(
        commands.add_parser("doctor", help="say what works on this machine, and how to mend it")
    )
    _add_serve_arguments(
        commands.add_parser(
            "serve", help="answer other programs: OpenAI's chat API on this machine"
        )
    )
    _add_plan_arguments(
        commands.add_parser("plan", help="say which models fit this machine, and how they are run")
    )
    _add_models_arguments(
        commands.add_parser("models", help="list, pull, verify, preserve and remove models")
    )
    _add_sessions_arguments(
        commands.add_parser("sessions", help="list, show, resume, export and prune past runs")
    )
    _add_cache_arguments(
        commands.add_parser("cache", help="list, prune and verify the states kept on disk")
    )
    for entry in entry_points(group=COMMANDS_GROUP):
        _add_foreign(commands, entry, words)
    return parser, commands.choices


def _add_fix_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare them all without a default: with `--resume`, what is not given stays as it was."""
    add = parser.add_argument
    add("path", nargs="?", type=Path, help="a folder in a git repository; this one if left out")
    add("--issue", metavar="TEXT|@FILE|-", help="what is wrong, in words")
    image = "a picture of what is wrong, for a model that sees; may be repeated"
    add("--image", action="append", type=Path, metavar="FILE", help=image)
    add("--test-cmd", metavar="CMD", help="how to run the tests; found out if left out")
    add("--tests", nargs="+", metavar="ID", help="the red tests to mend; all if left out")
    add("--model", metavar="auto|nano|FOLDER|HUB-ID", help="the model; auto never picks nano")
    add("--engine", metavar="URL", help=ENGINE_HELP)
    weights = "what the weights are kept in; auto: 16bit where they fit, else nf4"
    add("--weights", choices=("auto", "16bit", "int8", "nf4"), help=weights)
    add("--max-turns", type=int, metavar="N", help="replies of the model in one attempt")
    add("--max-time", type=float, metavar="S", help="seconds for the whole run")
    add("--max-tokens", type=int, metavar="N", help="tokens read and written, in all")
    add("--max-calls", type=int, metavar="N", help="tool calls in one attempt")
    add("--attempts", type=int, metavar="N", help="tries until one is green (default 1)")
    together = "of these, so many at once (default 1); without --attempts it is their number too"
    add("--together", type=int, metavar="N", help=together)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object at the end")
    form.add_argument("--stream-json", action="store_true", help="print each event as a JSON line")
    add("--patch", metavar="FILE|-", help="also write the patch here; - is standard output")
    add("--junit", metavar="FILE", help="write the tests and the verdict as JUnit XML")
    add("--sarif", metavar="FILE", help="write red tests and the repair as SARIF 2.1.0")
    add("--base", metavar="REF", help="mend only what is green at this commit and red now")
    place = parser.add_mutually_exclusive_group()
    commit = "commit a good repair on the current branch"
    place.add_argument("--commit", action="store_const", const=True, help=commit)
    branch = "commit it on a new branch, and leave the files as they are"
    place.add_argument("--branch", metavar="NAME", help=branch)
    add("--seed", type=int, metavar="N", help="of the attempts after the first (default 0)")
    add("--python", type=Path, metavar="FILE", help="the interpreter that runs the tests")
    dry_run = "make the patch, leave the repository as it is"
    add("--dry-run", action="store_const", const=True, help=dry_run)
    add("--resume", nargs="?", const="", metavar="ID", help="go on with an interrupted session")
    add(
        "--context",
        choices=("none", "repo"),
        help="repo: the model reads the files of the repository first, as many as fit",
    )
    no_reuse = "prefill everything each time, to compare"
    add("--no-reuse", action="store_const", const=True, help=no_reuse)
    add(
        "--thinking-history",
        choices=("preserve", "strip"),
        help="strip drops the thinking of earlier turns; preserve, the default, reads less",
    )
    add("--kv", choices=KV_KINDS, help=KV_HELP)
    add(
        "--sandbox",
        choices=("bubblewrap", "direct"),
        help="bubblewrap, the default: the most isolation that works here; "
        "direct: none, the model's commands run as you",
    )
    allow_host = "let commands reach this host, as pypi.org or *.pythonhosted.org; may be repeated"
    add("--allow-host", action="append", metavar="HOST", help=allow_host)
    mcp = "use the MCP servers of your settings that you have allowed for always in a talk"
    add("--mcp", action="store_const", const=True, help=mcp)


def _add_sessions_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action="list")
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION")
    which = "as `list` shows it, or the beginning of it; the last one if left out"
    here = "the same; the last unfinished one of this repository if left out"
    listing = actions.add_parser("list", help="past runs, the newest first")
    show = actions.add_parser("show", help="the conversation of one, with what it cost")
    resume = actions.add_parser("resume", help="go on with one, a run of `fix` or a talk")
    export = actions.add_parser("export", help="one as a file for people or programs")
    for action, words in ((show, which), (resume, here), (export, which)):
        action.add_argument("id", nargs="?", metavar="ID", help=words)
    for action in (listing, show):
        action.add_argument("--json", action="store_true", help="print one JSON object")
    forms = ("md", "json", "html")
    export.add_argument("--format", choices=forms, default="md", dest="form", help="default md")
    export.add_argument("--output", "-o", metavar="FILE|-", help="else standard output")
    prune = actions.add_parser("prune", help="remove old sessions; none that is in use")
    prune.add_argument("--older-than", metavar="AGE", help="unused so long: 30d, 12h, 90m")
    prune.add_argument("--keep", type=int, metavar="N", help="the newest N stay")
    prune.add_argument("--yes", action="store_true", help="do not ask")


def _add_talk_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("path", nargs="?", type=Path, help="a folder in a git repository; this one if left out")
    add("--model", metavar="auto|nano|FOLDER|HUB-ID", help="the model; auto never picks nano")
    add("--engine", metavar="URL", help=ENGINE_HELP)
    add("--kv", choices=KV_KINDS, help=KV_HELP)
    modes = ("plan", "ask", "edit", "auto")
    add("--mode", choices=modes, help="what runs without asking; ask where somebody is there")
    add("--test-cmd", metavar="CMD", help="how to run the tests; found out if left out")
    add("--python", type=Path, metavar="FILE", help="the interpreter that runs the tests")
    add("--resume", nargs="?", const="", metavar="ID", help="go on with an earlier talk")
    last = "go on with the last talk about this repository"
    add("--continue", dest="resume", action="store_const", const="", help=last)
    add("-p", "--prompt", metavar="TEXT|-", help="answer this and leave; - is standard input")
    image = "a picture shown with -p; at a terminal, name it as @FILE"
    add("--image", action="append", type=Path, default=[], metavar="FILE", help=image)
    add("--stream-json", action="store_true", help="print each event of it as a JSON line")
    add("--plain", action="store_true", help="plain lines on a terminal, too: for screen readers")
    levels = ("bubblewrap", "direct")
    add("--sandbox", choices=levels, default="bubblewrap", help="direct: no isolation")


def _add_acp_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", metavar="auto|nano|FOLDER|HUB-ID", help="the model; auto never picks nano")
    add("--engine", metavar="URL", help=ENGINE_HELP)
    modes = ("plan", "ask", "edit", "auto")
    add("--mode", choices=modes, help="what runs without asking, to begin with; default ask")
    add("--test-cmd", metavar="CMD", help="how to run the tests; found out if left out")
    add("--python", type=Path, metavar="FILE", help="the interpreter that runs the tests")
    levels = ("bubblewrap", "direct")
    add("--sandbox", choices=levels, default="bubblewrap", help="direct: no isolation")


def _add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", metavar="auto|nano|FOLDER|HUB-ID", help="the model; auto never picks nano")
    add("--kv", choices=KV_KINDS, help=KV_HELP)
    host = "an address of this machine (default 127.0.0.1); others need QWEN_AGENT_SERVE_KEY"
    add("--host", default="127.0.0.1", metavar="ADDRESS", help=host)
    add("--port", type=_port, default=8642, metavar="N", help="default 8642; 0 is any free one")
    parallel = "conversations with a live state at the same time (default 4); others wait"
    add("--parallel", type=_count, default=4, metavar="N", help=parallel)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


def _add_cache_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action="list")
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION")
    listing = actions.add_parser("list", help="what is kept, by model, and how much that is")
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    show = actions.add_parser("show", help="one state, and the line that it ends")
    show.add_argument("key", metavar="KEY", help="as `list` shows it, or the beginning of it")
    prune = actions.add_parser("prune", help="remove until the budget holds; see the options")
    which = prune.add_mutually_exclusive_group()
    which.add_argument("--budget", metavar="SIZE", help="keep so much: 500M, 20G; else [cache]")
    which.add_argument("--all", action="store_true", help="keep nothing")
    which.add_argument("--older-than", type=float, metavar="DAYS", help="what is unused so long")
    actions.add_parser("verify", help="read all of it and remove what is damaged; then exit 1")


def _add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", metavar="SIZE|HUB-ID|FOLDER|auto", help="only this one, part by part")
    add("--context", type=int, metavar="N", help="tokens of the window; else as many as fit")
    add("--vram", type=float, metavar="GIB", help="as if a GPU had so much; 0 is no GPU")
    add("--ram", type=float, metavar="GIB", help="as if the machine had so much")
    add("--json", action="store_true", help="print one JSON object")


def _add_models_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action="list")
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION")
    listing = actions.add_parser("list", help="what is here, and what `--model auto` means")
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    pull = actions.add_parser("pull", help="download a model of the hub and write down its sums")
    verify = actions.add_parser("verify", help="read a model and compare every file with its sum")
    preserve = actions.add_parser("preserve", help="copy a model whole, to be used from there")
    remove = actions.add_parser("rm", help="remove a model from the hub cache, or a packed file")
    for action in (pull, preserve):
        action.add_argument("id", metavar="HUB-ID", help="such as Qwen/Qwen3.5-4B")
    verify.add_argument("id", metavar="HUB-ID|FOLDER", help="pulled, or preserved there")
    remove.add_argument("id", metavar="HUB-ID|FILE", help="a model, or a packed file of the list")
    pull.add_argument("--revision", default="main", help="a branch, a tag or a commit")
    preserve.add_argument("folder", type=Path, metavar="FOLDER", help="a new one, or one begun")
    remove.add_argument("--yes", action="store_true", help="do not ask")


def _add_doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    deep = "load torch too, and let it multiply; takes some seconds"
    parser.add_argument("--deep", action="store_true", help=deep)


def _add_foreign(
    commands: "argparse._SubParsersAction[Parser]", entry: EntryPoint, words: list[str]
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
