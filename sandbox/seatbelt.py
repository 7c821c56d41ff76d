"""Isolation on macOS: a profile for `sandbox-exec`, made from a view. Never run on a Mac so far.

The profile is text from a pure function, and tests hold it word for word; that macOS takes it as it
is meant is not tested. Everything is denied that is not named: other files, every socket but Unix
ones in the workspace and the private folder, and services of the system. The loopback is closed
too: a Mac has no other one than that on which the user's own servers listen.

Nothing can be mounted, so a command sees the workspace where it is on disk.
"""

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from sandbox.base import Cancel, CommandResult, View, never
from sandbox.errors import SandboxError, SandboxUnavailable
from sandbox.group import run_group
from sandbox.limits import Limits

SANDBOX_EXEC = Path("/usr/bin/sandbox-exec")
CHECK_S = 30.0
START = 'ulimit -c 0; ulimit -t {cpu_s}; ulimit -f {blocks}; exec "$@"'
"""A shell sets the limits that macOS keeps: of memory it keeps none."""
BLOCK_BYTES = 512
"""What `ulimit -f` counts in."""

SYSTEM = (
    *("/bin", "/sbin", "/usr", "/opt/homebrew", "/opt/local"),
    *("/System/Library", "/System/Cryptexes", "/System/Volumes/Preboot/Cryptexes"),
    *("/Library/Apple", "/Library/Developer", "/Library/Frameworks"),
    *("/Applications/Xcode.app", "/private/var/db/timezone", "/private/var/select"),
)
"""Folders of programs and libraries; none of them holds anything of the user's. Not /System as a
whole: /System/Volumes/Data is the disk with all homes once more."""
FILES = (
    "/",
    *("/private/etc/hosts", "/private/etc/localtime", "/private/etc/passwd"),
    *("/private/etc/group", "/private/etc/protocols", "/private/etc/services"),
    *("/private/etc/shells", "/private/etc/ssl/cert.pem", "/private/etc/ssl/openssl.cnf"),
)
LINKS = ("/private", "/private/etc", "/private/var", "/etc", "/tmp", "/var", "/dev")
"""May be looked at, which resolving a path needs, and not listed."""
DEVICES = ("/dev/null", "/dev/random", "/dev/urandom", "/dev/zero")
SERVICES = ("com.apple.system.opendirectoryd.libinfo", "com.apple.system.logger")
"""Names of users, and somewhere to complain; no service that starts programs or asks the user."""
PROTECTED_NAMES = (".git",)
"""Read-only at any depth, in any case: file systems of a Mac take `.GIT` for it."""


class Seatbelt:
    """Runs commands under a profile of their own."""

    level = "seatbelt"
    """The isolation in force."""
    why: tuple[str, ...] = ()
    """There is no higher level on a Mac."""

    def __init__(self, program: Path = SANDBOX_EXEC) -> None:
        """Use this `sandbox-exec`.

        Raises:
            SandboxUnavailable: it does not work here; the text says why.
        """
        self._program = program
        complaint = _check(program)
        if complaint:
            raise SandboxUnavailable(f"{program} cannot make a sandbox here ({complaint}).")

    def run(
        self,
        argv: Sequence[str],
        view: View,
        limits: Limits,
        cancel: Cancel = never,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        """Run `argv` in `view.source`; see `Sandbox.run`."""
        if not view.source.is_dir():
            raise SandboxError(f"{view.source} is not a folder, so no command can run in it.")
        with tempfile.TemporaryDirectory(prefix="qwen-agent-", ignore_cleanup_errors=True) as name:
            private = Path(name).resolve()
            words = arguments(profile(view, private), argv, limits, self._program)
            start = view.source / view.start()
            environment = view.variables(private, private)
            return run_group(words, environment, start, limits, cancel, on_output, tuple(argv))


def arguments(
    text: str, argv: Sequence[str], limits: Limits, program: Path = SANDBOX_EXEC
) -> tuple[str, ...]:
    """Build the command line that runs `argv` under a profile and within limits."""
    start = START.format(cpu_s=limits.cpu_s, blocks=limits.file_bytes // BLOCK_BYTES)
    return (str(program), "-p", text, "/bin/sh", "-c", start, "sh", *argv)


def profile(view: View, private: Path) -> str:
    """Write the profile of a view; where several rules match, the last one holds.

    Paths must be those of the disk with no link in them: the kernel compares no others.

    Args:
        view: what a command may see.
        private: a folder of its own, for temporary files and as its home.
    """
    writable = [private, *([view.scratch] if view.scratch else [])]
    readable = [*map(Path, SYSTEM), *view.read_only, *(path for path, _ in view.protected)]
    (writable if view.writable else readable).append(view.source)
    places = _subpaths([*readable, *writable])
    return "\n".join(
        (
            "(version 1)",
            "(deny default)",
            "; processes: their own only",
            "(allow process-exec* process-fork)",
            "(allow process-info* signal (target same-sandbox))",
            "(allow sysctl-read ipc-posix-sem)",
            _rule("allow mach-lookup", (f"(global-name {_quoted(name)})" for name in SERVICES)),
            "; files: of the system and of the view",
            _rule("allow file-read-metadata", _literals([*map(Path, LINKS), *_around(writable)])),
            _rule("allow file-read* file-map-executable", places),
            _rule("allow file-read*", _literals(map(Path, (*FILES, *DEVICES)))),
            _rule("allow file-write*", _subpaths(writable)),
            _rule("allow file-write-data", _literals(map(Path, DEVICES))),
            "; what git obeys, and the folders around it, which could be moved away",
            _rule("deny file-write*", _denied(view)),
            _rule("deny file-write-unlink", _literals([view.source, *_ways(view)])),
            "; no network: Unix sockets where the command can make them",
            _rule(
                "allow network*", (f"(local unix-socket {place})" for place in _subpaths(writable))
            ),
            _rule(
                "allow network-outbound",
                (f"(remote unix-socket {place})" for place in _subpaths(writable)),
            ),
            "",
        )
    )


def _denied(view: View) -> Iterator[str]:
    """Give the filters of what is read-only inside the workspace."""
    yield from _subpaths(_protected(view))
    for name in PROTECTED_NAMES:
        in_any_case = "".join(
            f"[{letter.lower()}{letter.upper()}]" if letter.isalpha() else re.escape(letter)
            for letter in name
        )
        yield f'(regex #"^{_as_regex(view.source)}/(.*/)?{in_any_case}(/|$)")'


def _protected(view: View) -> list[Path]:
    """Give where on disk the protected paths of the view lie, and where they would be seen."""
    places = [at for _, at in view.protected if at.is_relative_to(view.workspace)]
    seen = [at.relative_to(view.workspace) for at in places]
    return [*(path for path, _ in view.protected), *(view.source / path for path in seen)]


def _ways(view: View) -> list[Path]:
    """Give the folders that lead from the workspace to what is protected in it."""
    ways = (
        folder
        for path in _protected(view)
        for folder in path.parents
        if folder != view.source and folder.is_relative_to(view.source)
    )
    return list(dict.fromkeys(ways))


def _around(paths: Iterable[Path]) -> list[Path]:
    """Give the folders that lead to paths: a program that asks where it is looks at each."""
    return sorted({folder for path in paths for folder in path.parents if folder != Path("/")})


def _rule(head: str, filters: Iterable[str]) -> str:
    return "\n".join((f"({head}", *(f"  {one}" for one in dict.fromkeys(filters)))) + ")"


def _sockets(end: str, folders: Iterable[Path]) -> list[str]:
    return [f"({end} unix-socket {place})" for place in _subpaths(folders)]


def _subpaths(paths: Iterable[Path]) -> list[str]:
    return [f"(subpath {_quoted(str(path))})" for path in paths]


def _literals(paths: Iterable[Path]) -> list[str]:
    return [f"(literal {_quoted(str(path))})" for path in paths]


def _quoted(text: str) -> str:
    """Write a string of the profile's language.

    Raises:
        SandboxError: it holds what could end a rule or a line.
    """
    if not text.isprintable():
        raise SandboxError(f"{text!r} cannot be written into a profile of the sandbox.")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _as_regex(path: Path) -> str:
    """Write a path as a pattern; a quote would end it, so any character stands for one."""
    _quoted(str(path))
    return re.sub(r"([.^$*+?()\[\]{}|\\])", r"\\\1", str(path)).replace('"', ".")


def _check(program: Path) -> str:
    """Run `true` under a profile that shows nothing of the user; give the complaint if it fails."""
    folder = Path(tempfile.gettempdir()).resolve() / "qwen-agent-nothing"
    text = profile(View(folder, folder, writable=False), folder)
    try:
        done = subprocess.run(
            [str(program), "-p", text, "/bin/sh", "-c", "true"],
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CHECK_S,
            check=False,
        )
    except OSError as error:
        return str(error.strerror)
    except subprocess.TimeoutExpired:
        return f"no answer in {CHECK_S:.0f} s"
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return "" if done.returncode == 0 else (lines or [f"exit code {done.returncode}"])[-1]
