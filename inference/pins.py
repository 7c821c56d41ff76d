"""Which revision of a model is loaded: the one that was pulled, until it is pulled again.

A pulled model has a manifest in the user's state folder; its files lie in the hub cache, where
other programs move `main` on. What was never pulled has no pin. Nothing is downloaded here.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from inference import manifest
from inference.errors import ModelUnavailable
from inference.hub_listing import Hub
from inference.manifest import HUB_ID, Manifest
from inference.user_folders import state_folder


def hub_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder where huggingface_hub keeps what it downloaded."""
    if "HF_HUB_CACHE" in environment:
        return Path(environment["HF_HUB_CACHE"])
    if "HF_HOME" in environment:
        return Path(environment["HF_HOME"]) / "hub"
    cache = environment.get("XDG_CACHE_HOME", "")
    return (Path(cache) if cache else Path.home() / ".cache") / "huggingface" / "hub"


def pins_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the manifests of pulled models are."""
    return state_folder(environment) / "models"


def pin_file(hub_id: str, folder: Path) -> Path:
    """Return the file of a model's manifest, whether it is there or not."""
    return folder / f"{hub_id.replace('/', '--')}.json"


def read_pin(hub_id: str, folder: Path) -> Manifest | None:
    """Return the manifest of a pulled model; None of one that was not.

    Raises:
        ModelUnavailable: it cannot be read, or is another model's.
    """
    file = pin_file(hub_id, folder)
    if not re.fullmatch(HUB_ID, hub_id) or not file.is_file():
        return None
    found = manifest.read(file)
    if found.hub_id != hub_id:
        raise ModelUnavailable(
            f"{file} is the manifest of {found.hub_id}, not of {hub_id}; remove it"
        )
    return found


def pin_of(hub_id: str, environment: Mapping[str, str] = os.environ) -> Manifest | None:
    """Return the manifest that says which revision of a model is loaded; raises as `read_pin`."""
    return read_pin(hub_id, pins_folder(environment))


def pinned_folder(hub_id: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder of a pulled model; None where it was not, or not all of it is there.

    Raises:
        ModelUnavailable: its manifest cannot be read.
    """
    pin = pin_of(hub_id, environment)
    if pin is None:
        return None
    folder = Hub(hub_cache(environment)).snapshot(hub_id, pin.revision)
    return folder if manifest.present_bytes(pin, folder) == pin.num_bytes else None
