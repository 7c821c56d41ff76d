"""Which model a name means: nothing is loaded here, and torch is not imported.

`auto` is what the settings name, else the largest checkpoint in the local hub cache that fits this
machine's memory. It is never nano, which is for demonstrations and repairs only toy bugs.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from inference.errors import ModelUnavailable
from inference.profiles import profile_for

NANO = "nano"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
MEMORY_SHARE = 0.8
"""Of the machine's memory, for the weights; the rest is for the state and the tests."""
CHOICES = (
    "--model FOLDER (a checkpoint on this disk), --model HUB-ID (such as Qwen/Qwen3.5-4B, "
    "downloaded once) or --model nano (bundled, repairs toy bugs only)"
)


@dataclass(frozen=True)
class CachedModel:
    """A checkpoint in the local hub cache."""

    hub_id: str
    folder: Path
    num_bytes: int
    family: str


def resolve(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the folder, hub id or `nano` that `name` stands for.

    Raises:
        ModelUnavailable: it stands for nothing that could be loaded; the text lists the choices.
    """
    if name == NANO:
        return NANO
    if name == "auto":
        return _largest_that_fits(environment)
    folder = Path(name).expanduser()
    if name.strip() and folder.is_dir():
        return _checked(folder)
    if folder.suffix == ".gguf" and folder.is_file():
        return str(folder.resolve())
    if HUB_ID.fullmatch(name) and not name.startswith("."):
        return name
    raise ModelUnavailable(f"there is no model {name!r}; choose {CHOICES}")


def cached_models(environment: Mapping[str, str] = os.environ) -> Iterator[CachedModel]:
    """Yield the checkpoints in the local hub cache that the engine can run."""
    for entry in sorted(hub_cache(environment).glob("models--*--*")):
        folder = _snapshot(entry)
        if folder is None:
            continue
        weights = [file for file in folder.glob("*.safetensors") if file.exists()]
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            family = profile_for(config, folder).name
        except (OSError, ValueError, ModelUnavailable):
            continue  # not ours: the cache is shared with every other program
        if weights:
            hub_id = entry.name.removeprefix("models--").replace("--", "/", 1)
            num_bytes = sum(file.stat().st_size for file in weights)
            yield CachedModel(hub_id, folder, num_bytes, family)


def hub_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder where huggingface_hub keeps what it downloaded."""
    if "HF_HUB_CACHE" in environment:
        return Path(environment["HF_HUB_CACHE"])
    if "HF_HOME" in environment:
        return Path(environment["HF_HOME"]) / "hub"
    cache = environment.get("XDG_CACHE_HOME", "")
    return (Path(cache) if cache else Path.home() / ".cache") / "huggingface" / "hub"


def memory_bytes() -> int:
    """Return how much memory this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _largest_that_fits(environment: Mapping[str, str]) -> str:
    budget = memory_bytes() * MEMORY_SHARE
    fitting = [model for model in cached_models(environment) if model.num_bytes <= budget]
    if not fitting:
        raise ModelUnavailable(
            f"no model is set and none in {hub_cache(environment)} fits this machine; "
            f"choose {CHOICES}"
        )
    return str(max(fitting, key=lambda model: model.num_bytes).folder)


def _checked(folder: Path) -> str:
    """Return a checkpoint folder after the look that costs nothing."""
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise ModelUnavailable(f"{folder} has no {name}; choose {CHOICES}")
    if not any(folder.glob("*.safetensors")):
        raise ModelUnavailable(f"{folder} has no *.safetensors; choose {CHOICES}")
    return str(folder.resolve())


def _snapshot(entry: Path) -> Path | None:
    """Return the folder of the revision that `main` points to, or of the only one there is."""
    reference = entry / "refs" / "main"
    if reference.is_file():
        folder = entry / "snapshots" / reference.read_text(encoding="utf-8").strip()
        return folder if folder.is_dir() else None
    folders = sorted((entry / "snapshots").glob("*"))
    return folders[0] if len(folders) == 1 else None
