"""`qwen-agent doctor` and `models`: what is there; nothing is changed."""

import importlib.metadata
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from agent.config import state_folder
from agent.models import CHOICES, cached_models, hub_cache, memory_bytes, resolve
from inference.errors import ModelUnavailable
from sandbox.base import View
from sandbox.bubblewrap import available
from tools.search import find_ripgrep

GIB = 1024**3


def inspect(arguments: Namespace) -> int:
    """Carry out the command that was typed; return its exit code."""
    return doctor() if arguments.command == "doctor" else models()


def doctor() -> int:
    """Print one line for each thing a run needs; return 1 if one is missing that it cannot lack."""
    code = 0
    for needed, ok, text in _checks():
        print(f"{'ok  ' if ok else 'FAIL' if needed else 'note'}  {text}")
        if needed and not ok:
            code = 1
    return code


def models() -> int:
    """Print the models that can be used without a download, and what `auto` means."""
    print("nano  bundled; repairs toy bugs, for demonstrations and tests only")
    for model in cached_models():
        print(f"{model.hub_id}  {model.family}, {model.num_bytes / GIB:.1f} GiB, in the hub cache")
    try:
        print(f"auto: {resolve('auto')}")
    except ModelUnavailable as error:
        print(f"auto: {error}")
    return 0


def _checks() -> Iterator[tuple[bool, bool, str]]:
    """Yield for each thing whether it is needed, whether it is there, and how to mend it."""
    here = sys.version_info
    yield True, here >= (3, 11), f"python {here.major}.{here.minor} (3.11 or newer is needed)"
    fault = available()
    yield True, fault is None, fault or "sandbox: bubblewrap works"
    yield _found("git", shutil.which("git"), "apt-get install git", needed=True)
    ripgrep = find_ripgrep(View(Path(), Path()))
    yield _found("ripgrep", ripgrep, "grep is used; apt-get install ripgrep", needed=False)
    for name in ("torch", "transformers"):
        yield _found(name, _installed(name), f"pip install {name}", needed=True)
    names = ", ".join(model.hub_id for model in cached_models())
    yield _found(f"models in {hub_cache()}", names, f"choose {CHOICES}", needed=False)
    yield False, True, f"memory: {memory_bytes() / GIB:.0f} GiB; sessions: {state_folder()}"


def _found(name: str, what: object, mend: str, needed: bool) -> tuple[bool, bool, str]:
    return needed, bool(what), f"{name}: {what or f'missing: {mend}'}"


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
