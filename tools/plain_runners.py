"""Commands that are known by their exit code: any at all, and cargo's and go's, which also tell."""

from pathlib import Path

from sandbox.base import View
from tools.command_words import Argv, cut_at_double_dash
from tools.printed_results import read_cargo, read_go
from tools.project import Environment
from tools.runner import Prepared, with_python
from tools.test_report import TestCase


class GenericRunner:
    """Any other command: its exit code is all that is known."""

    def recognises(self, command: Argv, folder: Path) -> bool:
        """Every command can be run this way."""
        return True

    def prepare(
        self, command: Argv, environment: Environment, view: View, scratch: Path, only: Argv
    ) -> Prepared:
        """Run it as it is; it cannot be restricted."""
        words = (with_python(command[0], environment), *command[1:])
        return Prepared(words, None)

    def read(self, prepared: Prepared, view: View) -> tuple[TestCase, ...] | None:
        """There is no file to read."""
        return None

    def told(self, output: str) -> tuple[TestCase, ...]:
        """Nothing is known of what it prints."""
        return ()


class CargoRunner(GenericRunner):
    """`cargo test`, whose results are only printed."""

    def recognises(self, command: Argv, folder: Path) -> bool:
        """Whether the command is cargo's."""
        return Path(command[0]).name == "cargo" and command[1:2] in (("test",), ("t",))

    def prepare(
        self, command: Argv, environment: Environment, view: View, scratch: Path, only: Argv
    ) -> Prepared:
        """Let one failing binary not end the run; an id is `binary::name`."""
        arguments, end = cut_at_double_dash(command)
        added = () if "--no-fail-fast" in arguments else ("--no-fail-fast",)
        if only:
            names = (name.partition("::")[2] or name for name in only)
            end = (*(end or ("--",)), "--exact", *names)
        return Prepared((*arguments, *added, *end), None)

    def told(self, output: str) -> tuple[TestCase, ...]:
        """Read its lines."""
        return read_cargo(output)


class GoRunner(GenericRunner):
    """`go test`, whose results are only printed."""

    def recognises(self, command: Argv, folder: Path) -> bool:
        """Whether the command is go's."""
        return Path(command[0]).name == "go" and command[1:2] == ("test",)

    def prepare(
        self, command: Argv, environment: Environment, view: View, scratch: Path, only: Argv
    ) -> Prepared:
        """Ask for a line a test; an id is `package::TestName/part`, and whole tests are run."""
        arguments = tuple(word for word in command[2:] if word != "-v")
        if not only:
            return Prepared((command[0], "test", "-v", *arguments), None)
        flags = tuple(word for word in arguments if word.startswith("-"))
        packages = dict.fromkeys(name.partition("::")[0] for name in only)
        names = {name.partition("::")[2].partition("/")[0] for name in only}
        run = (f"-run=^({'|'.join(sorted(names))})$",) if all(names) else ()
        return Prepared((command[0], "test", "-v", *flags, *run, *packages), None)

    def told(self, output: str) -> tuple[TestCase, ...]:
        """Read its lines."""
        return read_go(output)
