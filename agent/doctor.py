"""What a run needs, looked at one part at a time; nothing is changed, and nothing is printed here.

Each probe is given what it reads (folders, a `which`, a list), so that any machine can be described
to it. Which of them are asked, and how the answers look, is `frontends/doctor.py`.
"""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.machine import Cause
from agent.outcome import DENIED, ERROR, FIXED, NO_MODEL, USAGE
from agent.settings import EngineConfig
from agent.system_files import ROOT, text_of
from inference.errors import ModelUnavailable
from inference.remote_server import ServedModel
from inference.wire import HostStatus
from sandbox.probe import Layer

GIB = 1024**3
FREE_BYTES = GIB
"""Less than that on a disk is said; a copy of the repository and the journal need some."""
LEAST_BYTES = 64 * 1024**2
"""Less than that, and a run cannot keep its journal."""
STRONGEST = (DENIED, NO_MODEL, USAGE, ERROR)
"""Of several faults, the first here is the code that the doctor ends with."""
KERNELS = ("bitsandbytes", "triton", "fla-core")
"""Packages with kernels for a GPU; the engine runs without them."""
DEEP_S = 120.0
DEEP = """
import json, torch
cuda = torch.cuda.is_available()
ones = torch.ones(8, 8, device="cuda" if cuda else "cpu")
print(json.dumps({
    "version": torch.__version__,
    "device": torch.cuda.get_device_name(0) if cuda else "cpu",
    "bytes": torch.cuda.get_device_properties(0).total_memory if cuda else 0,
    "bf16": cuda and torch.cuda.is_bf16_supported(),
    "threads": torch.get_num_threads(),
    "product": float((ones @ ones).sum()),
}))
"""
"""Loads torch and multiplies; what it answers is `deep_torch`'s to read."""
PRODUCT = 512.0

State = Literal["ok", "note", "fail"]


@dataclass(frozen=True)
class Finding:
    """What was found of one part."""

    part: str
    state: State
    """`note` is worth a look and stops nothing."""
    text: str
    mend: str = ""
    """The command that mends it; empty where nothing needs mending."""
    exit_code: int = FIXED
    """Of a failure, the code that `fix` would end with."""


def exit_code_of(findings: Sequence[Finding]) -> int:
    """Return 0 if all works that is needed, else the code of the strongest failure."""
    codes = {finding.exit_code for finding in findings if finding.state == "fail"}
    return next((code for code in STRONGEST if code in codes), FIXED)


def no_sandbox(sentence: str, causes: Sequence[Cause]) -> Iterator[Finding]:
    """Say that there is no sandbox, and of everything that may be why how it is mended."""
    yield Finding("sandbox", "fail", sentence, exit_code=DENIED)
    for cause in causes:
        yield Finding("sandbox", "fail", cause.why, cause.mend, DENIED)


def sandbox_layers(layers: Sequence[Layer], level: str) -> Iterator[Finding]:
    """Say of each layer whether it holds; one that the level promises must."""
    for layer in layers:
        name = f"layer {layer.name}"
        if layer.works:
            yield Finding(name, "ok", layer.why)
        elif layer.is_promised(level):
            yield Finding(name, "fail", layer.why, layer.mend, DENIED)
        else:
            yield Finding(name, "note", layer.why, layer.mend)


def program(name: str, where: str | Path | None, needed: bool, without: str = "") -> Finding:
    """Say where a program is, or how it is installed and what happens until then."""
    if where:
        return Finding(name, "ok", str(where))
    text = f"missing; {without}" if without else "missing"
    mend = f"apt-get install {name}"
    if needed:
        return Finding(name, "fail", text, mend, USAGE)
    return Finding(name, "note", text, mend)


def package(name: str, version: str) -> Finding:
    """Say which version of a package is there that the engine cannot do without."""
    if version:
        return Finding(name, "ok", version)
    return Finding(name, "fail", "missing", f"pip install {name}", NO_MODEL)


def kernels(version_of: Callable[[str], str], has_gpu: bool) -> Finding:
    """Say which packages with kernels are there; without a GPU they are of no use."""
    found = [f"{name} {version_of(name)}" for name in KERNELS if version_of(name)]
    missing = [name for name in KERNELS if not version_of(name)]
    if has_gpu and missing:
        text = f"missing: {', '.join(missing)}; plain torch is used"
        return Finding("kernels", "note", text, "pip install 'qwen-agent-local[cuda]'")
    return Finding("kernels", "ok", ", ".join(found) or "plain torch")


def gpu(root: Path = ROOT) -> str:
    """Name the GPU as its driver does; empty if there is none that CUDA knows."""
    for file in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")):
        for line in text_of(file).splitlines():
            key, _, value = line.partition(":")
            if key == "Model":
                return value.strip()
    return ""


def gpu_and_torch(name: str, torch_version: str) -> Finding:
    """Say whether this torch is built for the GPU that is there."""
    if not name:
        return Finding("gpu", "note", "none found; the CPU is used")
    if torch_version.endswith("+cpu"):
        mend = "pip install --force-reinstall torch  # the CUDA build, on Linux x86-64"
        return Finding("gpu", "note", f"{name}, which this CPU build of torch cannot use", mend)
    return Finding("gpu", "ok", name)


def deep_torch(python: str = sys.executable, timeout_s: float = DEEP_S) -> Finding:
    """Load torch in a process of its own and let it multiply."""
    mend = "pip install --force-reinstall torch"
    try:
        done = subprocess.run(
            [python, "-I", "-c", DEEP], capture_output=True, text=True, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        text = f"no answer in {timeout_s:.0f} s"
        return Finding("torch works", "fail", text, mend, NO_MODEL)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    if done.returncode != 0 or not lines:
        text = lines[-1] if lines else f"it ended with {done.returncode}"
        return Finding("torch works", "fail", text, mend, NO_MODEL)
    found = json.loads(lines[-1])
    if found["product"] != PRODUCT:
        return Finding("torch works", "fail", "it multiplies wrongly", mend, NO_MODEL)
    memory = f", {found['bytes'] / GIB:.0f} GiB" if found["bytes"] else ""
    bf16 = ", bf16" if found["bf16"] else ""
    text = f"{found['version']} on {found['device']}{memory}{bf16}, {found['threads']} threads"
    return Finding("torch works", "ok", text)


def grammars(modules: Collection[str], is_there: Callable[[str], bool]) -> Finding:
    """Say which languages can be parsed."""
    missing = sorted({name for name in modules if not is_there(name)})
    if not missing:
        return Finding("grammars", "ok", f"{len(set(modules))} of tree-sitter")
    packages = " ".join(name.replace("_", "-") for name in missing)
    text = f"missing: {packages}; files of these languages are not outlined"
    return Finding("grammars", "note", text, f"pip install {packages}")


def disk(part: str, folder: Path, free_bytes: int) -> Finding:
    """Say how much is free where a folder is."""
    text = f"{free_bytes / GIB:.1f} GiB free at {folder}"
    if free_bytes < LEAST_BYTES:
        return Finding(part, "fail", text, "qwen-agent cache prune --all", ERROR)
    if free_bytes < FREE_BYTES:
        return Finding(part, "note", text, "qwen-agent cache prune --all")
    return Finding(part, "ok", text)


def folder(part: str, path: Path, uid: int) -> Finding:
    """Say whether a folder of ours can be written by us and read by nobody else."""
    there = nearest(path)
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        mend = _mend_unwritable(part, there, uid)
        return Finding(part, "fail", f"{path} cannot be written", mend, ERROR)
    if there != path:
        return Finding(part, "ok", f"{path}, made when it is needed")
    status = path.stat()
    if status.st_uid != uid:
        return Finding(part, "note", f"{path} belongs to another user", f"chown -R {uid} {path}")
    if stat.S_IMODE(status.st_mode) & 0o077:
        return Finding(part, "note", f"{path} is open to others", f"chmod 700 {path}")
    return Finding(part, "ok", str(path))


def _mend_unwritable(part: str, there: Path, uid: int) -> str:
    """Say what lets us write where we may not: rights, if the place is ours, or another place."""
    status = there.stat()
    if there.is_dir() and status.st_uid == uid and status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        return f"chmod u+rwx {there}"
    if there.is_dir() and status.st_uid != uid and there.parent.stat().st_uid == uid:
        return f"chown -R {uid} {there}  # as root"
    return f"export XDG_{part.split()[0].upper()}_HOME=FOLDER  # one of yours"


def nearest(path: Path) -> Path:
    """Give the path, or the innermost around it that can be seen."""
    # Asked of the system and not of pathlib, which raises where it may not look.
    return next(place for place in (path, *path.parents) if os.path.exists(place))  # noqa: PTH110


def unreadable(part: str, error: Exception) -> Finding:
    """Say of a part that it cannot be looked at, and why."""
    return Finding(part, "fail", f"it cannot be looked at: {error}", exit_code=ERROR)


def settings_file(path: Path, uid: int) -> Finding:
    """Say whether somebody else could write the settings, which may name commands to run."""
    if not path.exists():
        return Finding("settings", "ok", f"{path} is not there; the defaults hold")
    for place in (path, path.parent):
        status = place.stat()
        if status.st_uid not in (uid, 0) or stat.S_IMODE(status.st_mode) & 0o022:
            mend = f"chown {uid} {place} && chmod go-w {place}"
            return Finding("settings", "fail", f"{place} can be written by others", mend, USAGE)
    return Finding("settings", "ok", str(path))


def model(name: str, resolve: Callable[[str], str]) -> Finding:
    """Say which model the settings choose; `auto` may leave that to each run."""
    try:
        found = resolve(name)
    except ModelUnavailable as error:
        if name == "auto":
            return Finding("model", "note", str(error), "qwen-agent models  # what is here")
        mend = "set model.name in your settings; `qwen-agent models` lists what is here"
        return Finding("model", "fail", str(error), mend, NO_MODEL)
    return Finding("model", "ok", found if found == name else f"{name}: {found}")


def server(engine: EngineConfig, has_key: bool, ask: Callable[[], ServedModel]) -> Finding:
    """Say whether the server of the settings answers, and with which model."""
    try:
        model = ask()
    except ModelUnavailable as error:
        mend = "start it, or edit [engine] in your settings"
        return Finding("model", "fail", str(error), mend, error.exit_code)
    key = "with a key" if has_key else "without a key"
    num_tokens = model.context_tokens or engine.context_tokens
    window = f"a window of {num_tokens:,} tokens" if num_tokens else "a window that it does not say"
    return Finding("model", "ok", f"{model.name} at {engine.url}, {key}, {window}")


def hosts(found: Sequence[HostStatus]) -> Finding:
    """Say which engines run in a process of their own."""
    if not found:
        return Finding("engine", "ok", "no process runs; the first run starts one")
    words = [
        f"pid {host.pid}: {host.source} on {host.device}, {host.rss_bytes / GIB:.1f} GiB, "
        f"{'ready' if host.is_ready else 'loading'}, {host.num_clients} front ends"
        for host in found
    ]
    return Finding("engine", "ok", "; ".join(words))
