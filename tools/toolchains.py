"""Finds what cargo, go and node projects need besides the system: folders, PATH, variables.

Only parts of a home folder that hold programs and downloaded packages are named, never one that
may hold a token (`~/.cargo/credentials.toml`, `~/.npmrc`).
"""

import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.interpreters import SYSTEM, is_under, read_small

WASM_BYTES = 64 * 1024**3
"""V8 reserves 10 GiB of addresses for each instance of WebAssembly, and vitest has several."""


@dataclass(frozen=True)
class Toolchain:
    """What one language adds to an environment."""

    read_only: tuple[Path, ...] = ()
    path: tuple[Path, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    address_space_bytes: int = 0
    """What one process reserves, most of it never used; 0 for no more than any program."""


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
    parts = (
        *(cargo / name for name in ("bin", "registry", "git")),
        *(rustup / name for name in ("toolchains", "update-hashes")),
        rustup / "settings.toml",  # which toolchain is the default
    )
    # The programs in `cargo/bin` are rustup's, which writes into its home whatever it is asked.
    chosen = _rust_toolchain(root, rustup, variables)
    path = [cargo / "bin"]
    if chosen is not None:
        path.insert(0, chosen / "bin")
        parts += (chosen,) if not chosen.is_relative_to(rustup) else ()
    return Toolchain(
        tuple(path for path in parts if path.exists()),
        tuple(folder for folder in path if folder.is_dir()),
        {"CARGO_HOME": str(cargo), "RUSTUP_HOME": str(rustup), "CARGO_NET_OFFLINE": "true"},
    )


def _rust_toolchain(root: Path, rustup: Path, variables: Mapping[str, str]) -> Path | None:
    """The installed toolchain that rustup would choose for `root`, by reading what it reads."""
    installed = sorted(path for path in rustup.glob("toolchains/*") if (path / "bin").is_dir())
    for name in filter(None, _rust_names(root, rustup, variables)):
        for toolchain in installed:
            # A channel is short for its name with the machine's: stable-x86_64-unknown-linux-gnu.
            if toolchain.name == name or toolchain.name.startswith(f"{name}-"):
                return toolchain.resolve()  # `rustup toolchain link` makes links
    return installed[0].resolve() if len(installed) == 1 else None


def _rust_names(root: Path, rustup: Path, variables: Mapping[str, str]) -> Iterator[str]:
    """Names of toolchains, the one that counts most first."""
    settings = _toml(read_small(rustup / "settings.toml"))
    overrides = settings.get("overrides")
    yield variables.get("RUSTUP_TOOLCHAIN") or ""
    for folder in (root, *root.parents):
        if isinstance(overrides, dict):
            yield str(overrides.get(str(folder), ""))
        for name in ("rust-toolchain", "rust-toolchain.toml"):
            text = read_small(folder / name)
            table = _toml(text).get("toolchain")
            if isinstance(table, dict):
                yield str(table.get("channel", ""))
            elif re.fullmatch(r"\s*[\w.-]+\s*", text):
                yield text.strip()
    yield str(settings.get("default_toolchain", ""))


def _toml(text: str) -> Mapping[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


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
    found = tuple(dict.fromkeys(folders)), tuple(dict.fromkeys(path))
    return Toolchain(*found, {"CI": "true"}, WASM_BYTES)


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
