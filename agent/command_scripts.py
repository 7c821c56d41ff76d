"""Finds the scripts behind a test command, through make's recipes, package scripts and the shell.

Every original file that is named there decides what the tests say, with one exception: source
that is given to a compiler or a checker is what those work on. Text is read as people write it; a
path that is only put together when the command runs is not seen.
"""

import json
import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from agent.originals import SOURCE_SUFFIXES, Originals
from tools.command_words import PYTHON, without_launcher

Words = tuple[str, ...]

SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh"})
PACKAGE_MANAGERS = frozenset({"npm", "yarn", "pnpm", "bun"})
WRAPPERS = frozenset(
    {"env", "time", "exec", "nice", "timeout", "command", "npx", "bunx", "xvfb-run", "cross-env"}
    | {"if", "then", "else", "elif", "while", "do", "!", "{", "source", "."}
)
READERS = frozenset(
    {"cc", "gcc", "g++", "c++", "clang", "clang++", "$CC", "$CXX", "ld", "ar", "rustc", "javac"}
    | {"go", "tsc", "mypy", "ruff", "flake8", "pylint", "black", "pyright", "eslint", "prettier"}
    | {"cat", "cp", "mv", "rm", "ls", "touch", "head", "tail", "wc", "grep", "sed", "diff", "test"}
    | {"[", "echo", "printf", "shellcheck"}
)
"""Programs that do not run the source they are given."""
RUNNING_MODULES = frozenset({"coverage", "pdb", "trace", "cProfile"})
"""Of the modules of `python -m`, those that run the file they are given."""
RULE = re.compile(r"(?P<targets>[^\s:#=][^:#=]*):{1,2}(?![=:])(?P<needs>[^;#]*)(?:;(?P<line>.*))?")
ASSIGNMENT = re.compile(r"\s*(?:export\s+)?(\w+)\s*[:?+]?:?=\s*(.*)")


def scripts_of(command: Sequence[str], folder: str, files: Originals) -> frozenset[str]:
    """Name the files that `command`, started in `folder`, would run or be told by."""
    search = _Search(files)
    search.command(tuple(command), folder)
    return frozenset(search.found)


@dataclass(frozen=True)
class _Makefile:
    """What of a makefile matters here."""

    rules: dict[str, list[str]]
    """The recipe lines of each target."""
    needs: dict[str, list[str]]
    """What each target is made from."""
    first: str
    """The target of `make` alone."""


class _Search:
    """What has been found, and what has been looked into already."""

    def __init__(self, files: Originals) -> None:
        self.found: set[str] = set()
        self._files = files
        self._seen: set[tuple[str, ...]] = set()

    def command(self, words: Words, folder: str) -> None:
        """Look at one command as it would be started."""
        words = without_launcher(_unwrapped(words))
        if not words:
            return
        program = PurePosixPath(words[0]).name
        if program in SHELLS and "-c" in words[:-1]:
            self.shell(words[words.index("-c") + 1], folder)
        elif program in ("make", "gmake"):
            self._make(words[1:], folder)
        elif program in PACKAGE_MANAGERS:
            self._package(words[1:], folder)
        elif program == "tox":
            self.shell(self._files.read(_join(folder, "tox.ini")), folder)
        else:
            self._named(program, words, folder)

    def shell(self, text: str, folder: str) -> None:
        """Look at every command of a shell's text."""
        for words in _commands(text):
            if words[0] == "cd" and len(words) == 2:
                folder = _join(folder, words[1])
            else:
                self.command(words, folder)

    def _named(self, program: str, words: Words, folder: str) -> None:
        is_reader = program in READERS
        if PYTHON.fullmatch(program) and "-m" in words[:-1]:
            module = words[words.index("-m") + 1]
            own = self._module(module, folder)
            self.found.update(own)
            is_reader = not own and module not in RUNNING_MODULES
        for word in words:
            path = _join(folder, word.rpartition("=")[2])
            is_source = PurePosixPath(path).suffix.lower() in SOURCE_SUFFIXES
            if path in self._files.paths and not (is_reader and is_source):
                self._script(path, folder)

    def _script(self, path: str, folder: str) -> None:
        """Keep a file, and look into it if it is a shell's."""
        self.found.add(path)
        if not self._is_new("script", path):
            return
        text = self._files.read(path)
        is_shell = re.match(r"#!.*\b(?:ba|da|z|k)?sh\b", text) is not None
        if is_shell or path.endswith((".sh", ".bash")):
            self.shell(text, folder)

    def _module(self, module: str, folder: str) -> tuple[str, ...]:
        path = module.replace(".", "/")
        names = (_join(folder, name) for name in (f"{path}.py", f"{path}/__main__.py"))
        return tuple(name for name in names if name in self._files.paths)

    def _make(self, words: Words, folder: str) -> None:
        targets: list[str] = []
        name = ""
        before = ""
        for word in words:
            if before in ("-C", "--directory"):
                folder = _join(folder, word)
            elif before in ("-f", "--file", "--makefile"):
                name = word
            elif not word.startswith("-") and "=" not in word and before != "-j":
                targets.append(word)
            before = word
        for usual in (name,) if name else ("GNUmakefile", "makefile", "Makefile"):
            path = _join(folder, usual)
            if path in self._files.paths:
                self.found.add(path)
                made = _read_makefile(self._files.read(path))
                for target in targets or [made.first]:
                    self._target(target, made, path, folder)
                return

    def _target(self, target: str, made: _Makefile, path: str, folder: str) -> None:
        if not self._is_new("target", path, target):
            return
        for line in made.rules.get(target, ()):
            self.shell(line.lstrip("@-+ \t"), folder)
        for need in made.needs.get(target, ()):
            self._target(need, made, path, folder)

    def _package(self, words: Words, folder: str) -> None:
        named = [word for word in words if not word.startswith("-")]
        if named and named[0] in ("run", "run-script"):
            named = named[1:]
        name = "test" if named[:1] in (["t"], ["tst"]) else (named or [""])[0]
        path = _join(folder, "package.json")
        if not self._is_new("package", path, name):
            return
        for script in (f"pre{name}", name, f"post{name}"):
            self.shell(_package_scripts(self._files.read(path)).get(script, ""), folder)

    def _is_new(self, *what: str) -> bool:
        is_new = what not in self._seen
        self._seen.add(what)
        return is_new


def _join(folder: str, word: str) -> str:
    return posixpath.normpath(posixpath.join(folder, word))


def _unwrapped(words: Words) -> Words:
    """Take off what stands before a command: settings, `env`, `timeout 5`."""
    while words:
        is_wrapper = words[0] in WRAPPERS
        if not is_wrapper and not re.fullmatch(r"\w+=.*", words[0]):
            break
        words = words[1:]
        while is_wrapper and words and re.fullmatch(r"-.*|[\d.]+[smhd]?", words[0]):
            words = words[1:]
    return words


def _commands(text: str) -> Iterator[Words]:
    """Split a shell's text into commands; where quotes do not close, into its bare words."""
    for line in text.replace("\\\n", " ").split("\n"):
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|()<>")
        lexer.whitespace_split = True
        try:
            tokens = list(lexer)
        except ValueError:
            tokens = re.findall(r"[\w./+@=-]+", line)
        words: list[str] = []
        for token in (*tokens, ";"):
            if set(token) <= set(";&|()<>"):
                if words:
                    yield tuple(words)
                words = []
            else:
                words.append(token)


def _package_scripts(text: str) -> dict[str, str]:
    try:
        scripts = json.loads(text or "{}")["scripts"]
        return {name: line for name, line in scripts.items() if isinstance(line, str)}
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}


def _read_makefile(text: str) -> _Makefile:
    """Read rules with their recipes; variables are filled in where they are set simply."""
    values = {"MAKE": "make", "SHELL": "sh"}
    rules: dict[str, list[str]] = {}
    needs: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.replace("\\\n", " ").split("\n"):
        if line.startswith("\t"):
            for target in current:
                rules[target].append(_filled(line, values))
        elif found := RULE.fullmatch(_filled(line, values).rstrip()):
            current = found["targets"].split()
            for target in current:
                rules.setdefault(target, []).extend([found["line"]] if found["line"] else [])
                needs.setdefault(target, []).extend(found["needs"].replace("|", " ").split())
        elif setting := ASSIGNMENT.fullmatch(line):
            values[setting[1]] = _filled(setting[2], values)
    first = next((target for target in rules if not target.startswith(".")), "")
    return _Makefile(rules, needs, first)


def _filled(line: str, values: dict[str, str]) -> str:
    return re.sub(r"\$[({](\w+)[)}]", lambda match: values.get(match[1], f"${match[1]}"), line)
