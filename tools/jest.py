"""Runs jest and vitest so that they leave their JSON result; they share its form.

A package script is followed one step: `npm test` is jest's if `scripts.test` is one plain call of
it, since words can then be added at its end. A run that leaves no result (an old version, a wrapper
that drops what is added) is known by its exit code, like any other command.
"""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from sandbox.base import View
from tools.command_words import Argv
from tools.project import Environment, npm_test_script
from tools.result_files import merged, read_regular
from tools.runner import Prepared
from tools.tally import COLOURS
from tools.test_report import Outcome, TestCase

Kind = Literal["jest", "vitest"]
SEPARATOR = " > "
"""Between the titles of groups and the title of a test, in an id."""
SCRIPT_CALLS = {("npm", "test"), ("npm", "t"), ("npm", "run", "test"), ("yarn", "test")}
SCRIPT_CALLS |= {("pnpm", "test"), ("bun", "run", "test"), ("yarn", "run", "test")}
LAUNCHERS = ("npx", "--no-install", "cross-env")
SHELL_SIGNS = frozenset("|&;<>()$`\n")
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*")
OUTCOMES: dict[str, Outcome] = {"passed": "passed", "failed": "failed"}
"""pending, todo, skipped and disabled have not run."""


class JestRunner:
    """jest and vitest, called by name, through npx, or by the package's test script."""

    def recognises(self, command: Argv, folder: Path) -> bool:
        """Whether the command is one of theirs; `folder` holds the package."""
        return _kind(command, folder) is not None

    def prepare(
        self, command: Argv, environment: Environment, view: View, scratch: Path, only: Argv
    ) -> Prepared:
        """Ask for a JSON result, and for the tests in `only`."""
        kind = _kind(command, view.source / view.folder)
        assert kind is not None, "recognised before"
        result = scratch / "tests.json"
        if kind == "jest":
            added: list[str] = ["--json", f"--outputFile={result}", "--watchAll=false"]
        else:
            added = ["--run", "--reporter=default", "--reporter=json"]
            added.append(f"--outputFile.json={result}")
        argv = (*command, *_separator(command), *added, *_chosen(kind, only))
        return Prepared(argv, result, variables={"CI": "true", "NO_COLOR": "1", "FORCE_COLOR": "0"})

    def read(self, prepared: Prepared, view: View) -> tuple[TestCase, ...] | None:
        """Read the JSON that was written."""
        assert prepared.result is not None
        text = read_regular(prepared.result)
        return None if text is None else read_json(text, view.workspace / view.folder)

    def told(self, output: str) -> tuple[TestCase, ...]:
        """Nothing: there is a file, or the exit code."""
        return ()


def read_json(text: str, folder: Path) -> tuple[TestCase, ...] | None:
    """Read a result; ids begin with the file relative to `folder`. None unless it is whole."""
    try:
        return merged(_cases(json.loads(text)["testResults"], folder))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # a program in the sandbox wrote something else there


def _cases(files: Iterable[Mapping[str, Any]], folder: Path) -> Iterator[TestCase]:
    for file in files:
        path = PurePosixPath(file["name"])
        name = str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
        for test in file["assertionResults"]:
            yield _case(name, test)
        if not file["assertionResults"] and file["status"] == "failed":
            details = COLOURS.sub("", str(file.get("message", ""))).strip()
            yield TestCase(name, "error", _first_line(details), details)


def _case(file: str, test: Mapping[str, Any]) -> TestCase:
    titles = SEPARATOR.join([*test["ancestorTitles"], test["title"]])
    name = f"{file}::{titles}".replace("\n", " ")
    outcome = OUTCOMES.get(test["status"], "skipped")
    if outcome != "failed":
        return TestCase(name, outcome)
    details = "\n".join(map(_without_frames_of_libraries, test.get("failureMessages") or ()))
    return TestCase(name, outcome, _first_line(details), details)


def _without_frames_of_libraries(text: str) -> str:
    lines = COLOURS.sub("", text).split("\n")
    foreign = re.compile(r"\s+at .*(?:node_modules/|node:|<anonymous>)")
    return "\n".join(line for line in lines if not foreign.match(line))


def _first_line(text: str) -> str:
    return text.strip().split("\n")[0]


# --- the command


def _kind(command: Argv, folder: Path) -> Kind | None:
    words = command
    if command[:3] in SCRIPT_CALLS or command[:2] in SCRIPT_CALLS:
        script = npm_test_script(folder)
        if SHELL_SIGNS & set(script):
            return None
        try:
            words = tuple(shlex.split(script))
        except ValueError:
            return None
    while words and (words[0] in LAUNCHERS or ASSIGNMENT.match(words[0])):
        words = words[1:]
    name = PurePosixPath(words[0]).name if words else ""
    if name == "jest":
        return "jest"
    if name == "vitest" and words[1:2] not in (("bench",), ("list",), ("init",)):
        return "vitest"
    return None


def _separator(command: Argv) -> Argv:
    """npm alone keeps words for itself unless they come after `--`."""
    return ("--",) if command[0] == "npm" and "--" not in command else ()


def _chosen(kind: Kind, only: Argv) -> Argv:
    """Name the files and, if every id names a test, the tests."""
    if not only:
        return ()
    files = tuple(dict.fromkeys(name.partition("::")[0] for name in only))
    titles = [name.partition("::")[2].replace(SEPARATOR, " ") for name in only]
    pattern = f"^({'|'.join(map(_escaped, titles))})$" if all(titles) else ""
    named = (f"--testNamePattern={pattern}",) if pattern else ()
    return (*named, *(("--runTestsByPath",) if kind == "jest" else ()), *files)


def _escaped(title: str) -> str:
    """Quote for a JavaScript pattern; python would escape blanks too, which some refuse."""
    return re.sub(r"[.*+?^${}()|\[\]\\/]", r"\\\g<0>", title)
