"""The files that settings come from, and the folders of the user; the settings are `settings.py`.

They are defaults, then the user's `config.toml`, then flags. The repository's own
`.qwen-agent.toml` comes last and may only narrow: it never loosens a limit, never names a command
and never chooses a model. It is not the place for arguments of one run: those are a `FixRequest`.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from agent.errors import ConfigError
from agent.settings import ApprovalConfig, ApprovalMode, Budget, Config, SandboxConfig
from inference.user_folders import PROGRAM, base_folder

REPOSITORY_FILE = ".qwen-agent.toml"
MAX_FILE_BYTES = 64 * 1024


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where sessions are kept."""
    return _own_folder(environment, "XDG_STATE_HOME", ".local/state")


def snapshots_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the states of conversations are kept."""
    return _own_folder(environment, "XDG_CACHE_HOME", ".cache") / "snapshots"


def shapes_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where it is kept what models are made of, which takes seconds to find out."""
    return snapshots_folder(environment).with_name("shapes")


def skills_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the user's skills are."""
    return config_file(environment).with_name("skills")


def config_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the user's settings are."""
    return _own_folder(environment, "XDG_CONFIG_HOME", ".config") / "config.toml"


def load_config(path: Path) -> Config:
    """Read the user's settings; no file means the defaults.

    Raises:
        ConfigError: a key nobody knows or a value that cannot be meant.
    """
    config = Config()
    for table, values in read_settings(path).items():
        if table == "mcp":  # `mcp_config.py` reads it: what it names is no setting to be kept
            continue
        known = {entry.name for entry in fields(Config)}
        if table not in known or not isinstance(values, dict):
            raise ConfigError(f"{path}: {table} is not a table of settings ({_listed(known)})")
        section = _changed(getattr(config, table), values, f"{path}: {table}")
        config = replace(config, **{table: section})
    return config


def narrow(config: Config, repository: Path) -> tuple[Config, tuple[str, ...]]:
    """Apply the repository's own settings where they narrow; return them with what was ignored.

    Raises:
        ConfigError: the file cannot be read as TOML or holds a value of the wrong kind.
    """
    path = repository / REPOSITORY_FILE
    ignored: list[str] = []
    for table, values in read_settings(path).items():
        if table not in ("budget", "sandbox", "approval") or not isinstance(values, dict):
            ignored.append(table)
            continue
        section: Any = getattr(config, table)
        asked = _changed(section, values, f"{path}: {table}", ignored)
        if isinstance(section, ApprovalConfig):
            narrowed: Any = _stricter(section, asked)
            ignored += ["approval.allow"] if asked.allow != section.allow else []
            ignored += ["approval.mode"] if narrowed.mode != asked.mode else []
        else:
            narrowed = _smaller(section, asked)
            ignored += [
                f"{table}.{entry.name}"
                for entry in fields(section)
                if _is_wider(getattr(section, entry.name), getattr(asked, entry.name))
            ]
        config = replace(config, **{table: narrowed})
    return config, tuple(ignored)


def _stricter(ours: ApprovalConfig, asked: ApprovalConfig) -> ApprovalConfig:
    """Deny what either denies, ask as often as either does; allowing is the user's alone."""
    order = get_args(ApprovalMode)  # the strictest first
    return replace(
        ours,
        mode=min(ours.mode, asked.mode, key=order.index),
        deny=tuple(dict.fromkeys((*ours.deny, *asked.deny))),
        denied_tools=tuple(dict.fromkeys((*ours.denied_tools, *asked.denied_tools))),
    )


Section = TypeVar("Section", Budget, SandboxConfig)


def _smaller(ours: Section, asked: Section) -> Section:
    names = [entry.name for entry in fields(ours)]
    return replace(ours, **{n: _lesser(getattr(ours, n), getattr(asked, n)) for n in names})


def _lesser(ours: Any, asked: Any) -> Any:
    """Return the smaller number; of two lists what stands in both."""
    if isinstance(ours, tuple):
        return tuple(entry for entry in ours if entry in asked)
    return min(ours, asked)


def _is_wider(ours: Any, asked: Any) -> bool:
    return not set(asked) <= set(ours) if isinstance(ours, tuple) else bool(asked > ours)


def _changed(
    section: Any, values: Mapping[str, Any], where: str, ignored: list[str] | None = None
) -> Any:
    """Return `section` with `values`; unknown keys go to `ignored`, or are an error without it."""
    changes: dict[str, Any] = {}
    known = {entry.name for entry in fields(section)}
    for key, value in values.items():
        if key not in known:
            if ignored is None:
                raise ConfigError(f"{where}.{key} is no setting; known are {_listed(known)}")
            ignored.append(f"{where.rsplit(' ', 1)[-1]}.{key}")
            continue
        changes[key] = _of_kind(value, getattr(section, key), f"{where}.{key}")
    try:
        return replace(section, **changes)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def _of_kind(value: Any, default: Any, where: str) -> Any:
    """Return `value` as the type of `default`."""
    if isinstance(default, tuple) and isinstance(value, list):
        if all(isinstance(entry, str) for entry in value):
            return tuple(value)
    elif isinstance(default, float) and type(value) in (int, float):
        return _number(value, where)
    elif type(value) is type(default):
        return value
    raise ConfigError(f"{where} must be {_kind(default)}, not {value!r}")


def _number(value: float, where: str) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise ConfigError(f"{where} is too large") from error


def _kind(default: Any) -> str:
    kinds: dict[type, str] = {
        tuple: "a list of strings",
        float: "a number",
        int: "a whole number",
        bool: "true or false",
    }
    return kinds.get(type(default), "a string")


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def read_settings(path: Path) -> dict[str, Any]:
    """Return the tables of a file; none if there is no such file.

    Raises:
        ConfigError: it cannot be read, or not as TOML.
    """
    try:
        if not path.is_file():
            return {}
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
    try:
        return tomllib.loads(content.decode())
    except ValueError as error:  # not TOML, not UTF-8, or a number of thousands of digits
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def _own_folder(environment: Mapping[str, str], name: str, default: str) -> Path:
    """Return our folder in the base folder `name`.

    Raises:
        ConfigError: it is not set, and the user has no home folder.
    """
    try:
        return base_folder(environment, name, default) / PROGRAM
    except RuntimeError as error:
        raise ConfigError(f"you have no home folder; set {name} to a folder of yours") from error
