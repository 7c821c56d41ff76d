"""Finds what cargo, go and node projects need besides the system: folders, PATH, variables.

Only parts of a home folder that hold programs and downloaded packages are named, never one that
may hold a token (`~/.cargo/credentials.toml`, `~/.npmrc`).
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.interpreters import SYSTEM, is_under


@dataclass(frozen=True)
class Toolchain:
    """What one language adds to an environment."""

    read_only: tuple[Path, ...] = ()
    path: tuple[Path, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


def find_toolchains(root: Path, variables: Mapping[str, str]) -> tuple[Toolchain, ...]:
    """The toolchains that the files in `root` ask for."""
    finders: tuple[tuple[str, Callable[[Path, Mapping[str, str]], Toolchain]], ...] = (
        ("Cargo.toml", _rust),
        ("go.mod", _go),
        ("package.json", _node),
    )
    return tuple(find(root, variables) for marker, find in finders if (root / marker).is_file())


def _rust(root: Path, variables: Mapping[str, str]) -> Toolchain:
    home = _home(variables)
    cargo = Path(variables.get("CARGO_HOME") or home / ".cargo")
    rustup = Path(variables.get("RUSTUP_HOME") or home / ".rustup")
    parts = (cargo / "bin", cargo / "registry", cargo / "git", rustup / "toolchains")
    folders = tuple(path for path in parts if path.is_dir())
    settings = rustup / "settings.toml"  # which toolchain is the default
    return Toolchain(
        folders + ((settings,) if settings.is_file() else ()),
        (cargo / "bin",) if cargo / "bin" in folders else (),
        {"CARGO_HOME": str(cargo), "RUSTUP_HOME": str(rustup), "CARGO_NET_OFFLINE": "true"},
    )


def _go(root: Path, variables: Mapping[str, str]) -> Toolchain:
    home = _home(variables)
    program = _program("go", variables)
    goroot = Path(variables["GOROOT"]) if variables.get("GOROOT") else None
    if goroot is None and program is not None:
        goroot = program.resolve().parent.parent
    gopath = Path((variables.get("GOPATH") or str(home / "go")).split(":")[0])
    modules = Path(variables.get("GOMODCACHE") or gopath / "pkg" / "mod")
    settings = {"GOPROXY": "off", "GOTOOLCHAIN": "local", "GOCACHE": "/tmp/go-build"}
    settings |= {"GOMODCACHE": str(modules), "GOFLAGS": "-mod=mod"}
    if (root / "vendor" / "modules.txt").is_file():
        settings["GOFLAGS"] = "-mod=vendor"
    folders = [modules] if modules.is_dir() else []
    if goroot is None or not (goroot / "bin" / "go").is_file():
        return Toolchain(tuple(folders), (), settings)
    if not is_under(goroot, SYSTEM):
        folders.append(goroot)
    return Toolchain(tuple(folders), (goroot / "bin",), {**settings, "GOROOT": str(goroot)})


def _node(root: Path, variables: Mapping[str, str]) -> Toolchain:
    """Node and its package managers, wherever nvm, fnm, volta or a tarball put them."""
    folders: list[Path] = []
    path: list[Path] = []
    for name in ("node", "npm", "pnpm", "yarn", "bun"):
        program = _program(name, variables)
        if program is None or program.is_relative_to(root):
            continue
        for place in (program, program.resolve()):
            if not is_under(place, SYSTEM):
                folders.append(_installation(place, _home(variables)))
        path.append(program.parent)
    # Without this jest and vitest may watch files for ever.
    return Toolchain(tuple(dict.fromkeys(folders)), tuple(dict.fromkeys(path)), {"CI": "true"})


def _installation(program: Path, home: Path) -> Path:
    """The folder a program was installed as: its prefix, or only its `bin` where that is shared."""
    prefix = program.parent.parent
    if home.is_relative_to(prefix) or prefix == home / ".local":
        return program.parent
    return prefix


def _program(name: str, variables: Mapping[str, str]) -> Path | None:
    found = shutil.which(name, path=variables.get("PATH", os.defpath))
    return Path(found) if found and found.startswith("/") else None


def _home(variables: Mapping[str, str]) -> Path:
    return Path(variables.get("HOME") or "/nonexistent")
