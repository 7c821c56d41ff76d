"""Makes what a test run printed fit to read: relative paths, no colours, no times.

Two runs that did the same must read the same: the model's context is reused by its exact text, and
a call that brings nothing new is recognised by its result.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from sandbox.base import View
from tools.readable import readable
from tools.test_report import TestCase

TIMES = re.compile(
    r" in \d+(?:\.\d+)?\s?m?s(?: \(\d+:\d\d:\d\d\))?(?=[\s=]|$)"  # pytest, unittest
    r"|; finished in \d+\.\d+s"  # cargo
    r"| \(\d+(?:\.\d+)?\s?m?s\)"  # go, jest
    r"|\t\d+\.\d+s(?=\n|$)"  # go
    r"|[ \t]*duration_ms[: ]+[\d.]+"  # node
)
CLIMBING = re.compile(r"(?m)^(?:\.\./)+[^\s:]+(?=:\d+: )")
"""pytest writes a file outside the workspace relative to it when that is shorter."""
CARETS = re.compile(r"(?m)^[ ]+[\^~]+[ ]*\n?")
"""Whether and where they stand differs between versions of python."""
IMPORTLIB = re.compile(r"(?m)^\S*/importlib/__init__\.py:\d+: in import_module\n(?:[ ]+.*\n)+")
FROZEN = re.compile(r"(?m)^<frozen [^>]+>:\d+: in \S+\n(?:[ ]+.*\n)+")
VERBOSE_HINT = re.compile(r"(?m)^(?:E[ ]*\n)?E[ ]+Use -v to get more diff[ ]*\n?")
LIBRARY = re.compile(r"""(?m)(?:^|(?<=[\s"']))[^\s"':]*?\blib(?:64)?/python3\.\d+/""")
"""Wherever a python is installed, its library reads the same."""


class Scrubber:
    """Knows the folders of one run, and takes them out of its texts."""

    def __init__(self, view: View, scratch: Path, tool_folders: Sequence[Path]) -> None:
        self.workspace = view.workspace / view.folder
        self._names: list[tuple[str, str]] = []
        # Without a sandbox the tests run in the source; the scratch folder may lie in either.
        # Commands start in the view's folder, and what they name is relative to that.
        roots = (view.source / view.folder, view.workspace / view.folder, view.source)
        for root in (scratch, *roots, view.workspace):
            self._names += [(f"{root}/", ""), (str(root), ".")]
        # The inner folder first: a virtual environment may lie in the prefix it came from.
        for folder in sorted(map(str, tool_folders), key=len, reverse=True):
            self._names.insert(0, (folder.rstrip("/") + "/", "<tools>/"))

    def output(self, text: str) -> str:
        """Clean what was printed."""
        return self._paths(TIMES.sub("", readable(text)))

    def case(self, case: TestCase) -> TestCase:
        """Clean the texts of one test."""
        return replace(
            case, message=self.output(case.message), details=self.traceback(case.details)
        )

    def traceback(self, text: str) -> str:
        """Clean a traceback, and leave out what is the same in each."""
        text = self._paths(readable(text))
        text += "\n"
        for noise in (CARETS, IMPORTLIB, FROZEN, VERBOSE_HINT):
            text = noise.sub("", text)
        return "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")

    def _paths(self, text: str) -> str:
        text = CLIMBING.sub(self._absolute, text)
        for name, instead in self._names:
            end = "" if name.endswith("/") else r"(?![\w-])"
            pattern = rf"(?<![\w.-]){re.escape(name)}{end}"
            text = re.sub(pattern, instead, text)
        return LIBRARY.sub("<python>/", text)

    def _absolute(self, match: re.Match[str]) -> str:
        at = self.workspace
        for part in PurePosixPath(match[0]).parts:
            at = at.parent if part == ".." else at / part
        return str(at)
