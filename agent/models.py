"""Which model a name means: nothing is loaded here, and torch is not imported.

`auto` is what the settings name, else the largest checkpoint in the local hub cache that fits this
machine, as the planner says: its GPU, if it has one. It is never nano, which is for demonstrations
and repairs only toy bugs.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.config import shapes_folder
from agent.hardware import Hardware, read_hardware
from inference.errors import ModelUnavailable
from inference.extras import has_draft_layer, vision_params
from inference.footprint import Weights
from inference.models import FAMILY, FamilyModel, newest
from inference.plan import Plan, Wanted
from inference.planner import Named, largest, plan, to_run
from inference.profiles import profile_for
from inference.runnable import check_folder, check_usable
from inference.shapes import ModelShape, shape_of

if TYPE_CHECKING:
    from inference.manifest import Manifest

NANO = "nano"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
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
    config: Mapping[str, Any]

    @property
    def weights(self) -> Weights | None:
        """In which format the weights are stored; None for whole numbers, which may become any."""
        stored = self.config.get("quantization_config")
        if not isinstance(stored, dict):
            return None
        in_eight = "fp8" in str(stored.get("quant_method")) or stored.get("load_in_8bit")
        return "int8" if in_eight or stored.get("bits") == 8 else "nf4"

    @property
    def wanted(self) -> Wanted:
        """Return what is to be planned for it: what was quantized by others stays as it is."""
        return Wanted(weights=self.weights, is_whole=self.weights is not None)

    def shape(self, kept_in: Path) -> ModelShape:
        """Return what it is made of.

        Raises:
            ModelUnavailable: its config.json describes no model, or its weights are not whole.
        """
        return replace(
            shape_of(self.config, kept_in),
            has_draft=has_draft_layer(self.folder, self.config),
            vision_params=vision_params(self.config),
        )

    def check(self) -> str:
        """See what loading sees before it reads a number; return how its makers quantized it.

        Raises:
            ModelUnavailable: it would not load.
        """
        checked(self.folder)
        return check_folder(self.folder, self.config)


def resolve(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the folder, hub id or `nano` that `name` stands for.

    Raises:
        ModelUnavailable: it stands for nothing that could be loaded; the text lists the choices.
    """
    if name == NANO:
        return NANO
    if name == "auto":
        return str(largest_here(read_hardware(), environment).folder)
    folder = Path(name).expanduser()
    if name.strip() and folder.is_dir():
        return checked(folder)
    if folder.suffix == ".gguf" and folder.is_file():
        return str(folder.resolve())
    if HUB_ID.fullmatch(name) and not name.startswith("."):
        return name
    raise ModelUnavailable(f"there is no model {name!r}; choose {CHOICES}")


def cached_models(environment: Mapping[str, str] = os.environ) -> Iterator[CachedModel]:
    """Yield the checkpoints in the local hub cache that the engine can run."""
    from inference.pins import hub_cache, pin_of  # pydantic: no editor is to wait for it

    for entry in sorted(hub_cache(environment).glob("models--*--*")):
        hub_id = entry.name.removeprefix("models--").replace("--", "/", 1)
        try:
            folder = _snapshot(entry, pin_of(hub_id, environment))
            if folder is None:
                continue
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            family = profile_for(config, folder).name
        except (OSError, ValueError, ModelUnavailable):
            continue  # not ours: the cache is shared with every other program
        weights = [file for file in folder.glob("*.safetensors") if file.exists()]
        if weights:
            num_bytes = sum(file.stat().st_size for file in weights)
            yield CachedModel(hub_id, folder, num_bytes, family, config)


def auto_plan(
    hardware: Hardware, environment: Mapping[str, str] = os.environ
) -> tuple[CachedModel, Plan] | None:
    """Return the largest model that is here and fits, and how it is run; None if there is none.

    One that fits whole comes before a larger one that does not.
    """
    found = []
    for model in cached_models(environment):
        if model.family == NANO:
            continue
        with suppress(ModelUnavailable):  # the others are looked at all the same
            if method := model.check():
                check_usable(method, has_gpu=hardware.gpu is not None)
            found.append((model, model.shape(shapes_folder(environment))))
    runs = []
    for model, shape in sorted(found, key=lambda one: one[1].num_params, reverse=True):
        run = to_run(plan(model.hub_id, shape, hardware.room, model.wanted))
        if run is not None:
            runs.append((model, run))
    whole = [(model, run) for model, run in runs if not run.sentence]
    return next(((model, run.plan) for model, run in (*whole, *runs)), None)


def named_family(models: Iterable[FamilyModel] = FAMILY) -> tuple[Named, ...]:
    """Return releases of the family with their shapes, as the planner takes them."""
    return tuple((model.hub_id, released_shape(model)) for model in models)


def released_shape(model: FamilyModel) -> ModelShape:
    """Return the shape of a release; all of them bring along a draft layer."""
    return replace(shape_of(model.config), has_draft=True)


def largest_of_family(hardware: Hardware) -> Plan | None:
    """Return the plan of the largest release that fits whole where models are run, here or not."""
    return largest(named_family(newest()), hardware.room)


def largest_here(hardware: Hardware, environment: Mapping[str, str] = os.environ) -> CachedModel:
    """Return the model that `auto` means.

    Raises:
        ModelUnavailable: none that is here fits; the text names what can be pulled.
    """
    found = auto_plan(hardware, environment)
    if found is not None:
        return found[0]
    from inference.pins import hub_cache

    possible = largest_of_family(hardware)
    pull = f"`qwen-agent models pull {possible.name}` (the largest that fits), " if possible else ""
    raise ModelUnavailable(
        f"no model is set and none in {hub_cache(environment)} fits "
        f"{'the GPU of ' if hardware.gpu else ''}this machine; choose {pull}{CHOICES}"
    )


def checked(folder: Path) -> str:
    """Return a checkpoint folder after the look that costs nothing.

    Raises:
        ModelUnavailable: it has no configuration, no vocabulary or no weights.
    """
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise ModelUnavailable(f"{folder} has no {name}; choose {CHOICES}")
    if not any(folder.glob("*.safetensors")):
        raise ModelUnavailable(f"{folder} has no *.safetensors; choose {CHOICES}")
    return str(folder.resolve())


def _snapshot(entry: Path, pin: "Manifest | None") -> Path | None:
    """Return the folder of the pinned revision, else of `main`, else of the only one there is."""
    if pin is not None:
        folder = entry / "snapshots" / pin.revision
        return folder if folder.is_dir() else None
    reference = entry / "refs" / "main"
    if reference.is_file():
        folder = entry / "snapshots" / reference.read_text(encoding="utf-8").strip()
        return folder if folder.is_dir() else None
    folders = sorted((entry / "snapshots").glob("*"))
    return folders[0] if len(folders) == 1 else None
