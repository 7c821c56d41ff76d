"""Finds the python of a project, and the folders it needs; runs nothing of the project to do so.

A repository is not trusted: a `pyvenv.cfg` or a link in it may name any folder of the machine, so
only a folder that holds a python installation is ever handed on to be bound into the sandbox.
"""

import base64
import hashlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tools.errors import ProjectError

SYSTEM = (Path("/usr"), Path("/bin"), Path("/lib"))
"""What every sandbox shows by itself."""
MAX_CONFIG_BYTES = 1024 * 1024


def find_interpreter(root: Path, python: Path | None, variables: Mapping[str, str]) -> Path | None:
    """Find the project's python: named, in the repository, of its package manager, the system's.

    Raises:
        ProjectError: `python` was named and is no interpreter.
    """
    if python is not None:
        return _named(python)
    for folder in _environments(root, variables):
        found = _python_in(folder)
        if found is not None and not _is_ours(folder):
            return found
    return _system_python(root, variables)


def prefixes_of(interpreter: Path, home: Path) -> tuple[Path, ...]:
    """The folders outside the system that `interpreter` needs: its environment and its base."""
    prefix = interpreter.parent.parent
    candidates = [prefix, prefix.resolve()]  # its scripts may name it either way
    candidates += _base_of(prefix)
    candidates.append(interpreter.resolve().parent.parent)
    kept: list[Path] = []
    for folder in candidates:
        if folder in kept or is_under(folder, SYSTEM) or home.is_relative_to(folder):
            continue
        if (folder / "pyvenv.cfg").is_file() or _holds_standard_library(folder):
            kept.append(folder)
    return tuple(kept)


def site_folders(interpreter: Path, home: Path) -> tuple[Path, ...]:
    """Where the packages of `interpreter` lie, as far as the file system tells."""
    prefix = interpreter.parent.parent
    roots = [prefix]
    config = read_small(prefix / "pyvenv.cfg")
    if not config or re.search(r"(?im)^include-system-site-packages\s*=\s*true", config):
        roots += [*_base_of(prefix), interpreter.resolve().parent.parent]
        roots += [Path("/usr"), Path("/usr/local"), home / ".local"]
    found = [folder for root in roots for folder in root.glob("lib*/python3*/*-packages")]
    return tuple(dict.fromkeys(found))


def has_package(interpreter: Path, name: str, home: Path) -> bool:
    """Whether a package, or anything that points to a checkout of it, is installed."""
    return any(
        (folder / name).is_dir()
        or (folder / f"{name}.py").is_file()
        or any(folder.glob(f"*{name}*.pth"))
        or any(folder.glob(f"{name}.egg-link"))
        for folder in site_folders(interpreter, home)
    )


def is_under(path: Path, folders: tuple[Path, ...]) -> bool:
    """Whether `path` is one of `folders` or inside one."""
    return any(path.is_relative_to(folder) for folder in folders)


def read_small(path: Path) -> str:
    """Read a configuration file; nothing if it is absent, huge, or no regular file."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_CONFIG_BYTES:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _named(python: Path) -> Path:
    path = Path(os.path.abspath(python.expanduser()))  # noqa: PTH100 - must keep links as they are
    if path.is_dir():
        path = path / "bin" / "python"
    if not path.is_file() or not os.access(path, os.X_OK):
        raise ProjectError(f"--python {python}: there is no interpreter there.")
    return path


def _environments(root: Path, variables: Mapping[str, str]) -> Iterator[Path]:
    """Folders that may be the project's environment, the surest first."""
    home = Path(variables.get("HOME", "/nonexistent"))
    if variables.get("UV_PROJECT_ENVIRONMENT"):
        yield root / variables["UV_PROJECT_ENVIRONMENT"]
    yield root / ".venv"
    yield root / "venv"
    yield from _poetry(root, home, variables)
    yield from _pipenv(root, home, variables)
    yield from _conda(root, home)
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if variables.get(name):
            yield Path(variables[name])


def _poetry(root: Path, home: Path, variables: Mapping[str, str]) -> Iterator[Path]:
    """Poetry names an environment after a hash of the project's path."""
    if not (root / "poetry.lock").is_file() and "[tool.poetry]" not in read_small(
        root / "pyproject.toml"
    ):
        return
    cache = Path(variables.get("POETRY_CACHE_DIR") or home / ".cache" / "pypoetry")
    folder = Path(variables.get("POETRY_VIRTUALENVS_PATH") or cache / "virtualenvs")
    digest = hashlib.sha256(str(root.resolve()).encode()).digest()
    word = base64.urlsafe_b64encode(digest).decode()[:8]
    yield from sorted(folder.glob(f"*-{word}-py3*"), reverse=True)


def _pipenv(root: Path, home: Path, variables: Mapping[str, str]) -> Iterator[Path]:
    """Pipenv leaves a note of the project in each environment."""
    if not (root / "Pipfile").is_file():
        return
    folder = Path(variables.get("WORKON_HOME") or home / ".local" / "share" / "virtualenvs")
    for note in sorted(folder.glob("*/.project")):
        if read_small(note).strip() == str(root.resolve()):
            yield note.parent


def _conda(root: Path, home: Path) -> Iterator[Path]:
    """An environment file names one of conda's environments."""
    text = read_small(root / "environment.yml") or read_small(root / "environment.yaml")
    name = re.search(r"(?m)^name:\s*[\"']?([\w.-]+)", text)
    if name is None or name[1] in (".", ".."):
        return
    installs = ("miniconda3", "anaconda3", "miniforge3", "mambaforge", "micromamba", ".conda")
    for folder in (*(home / install for install in installs), Path("/opt/conda")):
        yield folder / "envs" / name[1]


def _python_in(folder: Path) -> Path | None:
    for name in ("python", "python3"):
        path = folder / "bin" / name
        if path.is_file() and os.access(path, os.X_OK):
            return Path(os.path.abspath(path))  # noqa: PTH100 - must keep links as they are
    return None


def _is_ours(folder: Path) -> bool:
    return sys.prefix != sys.base_prefix and folder.resolve() == Path(sys.prefix).resolve()


def _system_python(root: Path, variables: Mapping[str, str]) -> Path | None:
    """The first python3 of PATH that is a program, not of our environment and no shim script."""
    home = Path(variables.get("HOME", "/nonexistent"))
    folders = [Path(item) for item in variables.get("PATH", "").split(":") if item]
    for folder in (*folders, Path("/usr/local/bin"), Path("/usr/bin")):
        if folder.name == "shims":
            chosen = _pyenv(root, folder.parent)
            if chosen is not None:
                return chosen
            continue
        path = folder / "python3"
        if not path.is_file() or not os.access(path, os.X_OK) or _is_ours(folder.parent):
            continue
        if path.is_relative_to(root) or not folder.is_absolute() or home == folder:
            continue  # a repository on PATH does not choose what runs
        with path.open("rb") as file:
            if file.read(2) == b"#!":
                continue
        return path
    return None


def _pyenv(root: Path, pyenv: Path) -> Path | None:
    """The version that pyenv's shims would choose."""
    for note in (root / ".python-version", pyenv / "version"):
        for version in read_small(note).split():
            found = _python_in(pyenv / "versions" / Path(version).name)
            if found is not None and not _is_ours(found.parent.parent):
                return found
    return None


def _base_of(prefix: Path) -> list[Path]:
    """The installation a virtual environment was made from."""
    match = re.search(r"(?m)^home\s*=\s*(\S.*?)\s*$", read_small(prefix / "pyvenv.cfg"))
    if match is None or not match[1].startswith("/"):
        return []
    base = Path(match[1]).parent
    return [base, base.resolve()]


def _holds_standard_library(folder: Path) -> bool:
    return any(folder.glob("lib/python3*/os.py"))
