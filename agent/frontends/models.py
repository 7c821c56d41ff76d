"""`qwen-agent models`: list, pull, verify, preserve, rm; it reads arguments and prints.

What is done is `agent/kept_models.py`. Codes: 0; 1 where `verify` finds something; 2 for names that
cannot be meant; 7 where a model cannot be had.
"""

import json
import sys
from argparse import Namespace

from agent.config import config_file, load_config
from agent.engine import wanted_model
from agent.frontends.agreed import agreed
from agent.frontends.cache import bytes_in_words
from agent.frontends.console import on_screen, visible
from agent.frontends.meter import Meter
from agent.hardware import read_hardware
from agent.kept_models import KeptModels
from agent.models import NANO, cached_models, resolve
from agent.planning import answer, named
from inference.errors import ModelUnavailable
from inference.manifest import Manifest
from inference.models import find
from inference.packed_files import packed_files
from inference.pins import hub_cache
from inference.planner import Refusal

AUTO = "auto"
SCHEMA_VERSION = 1
FAILED = 1
NUM_REVISION_DIGITS = 10


def run(arguments: Namespace, kept: KeptModels | None = None) -> int:
    """Carry out the command that was typed; return its exit code.

    Raises:
        AgentError: it cannot be meant.
        ModelUnavailable: the model cannot be had.
    """
    kept = kept or KeptModels()
    match arguments.action:
        case "pull":
            return _pull(kept, arguments.id, arguments.revision)
        case "verify":
            return _verify(kept, arguments.id)
        case "preserve":
            return _preserve(kept, arguments)
        case "rm":
            return _remove(kept, arguments.id, is_sure=arguments.yes)
        case _:
            return _list(kept, is_json=getattr(arguments, "json", False))


def _list(kept: KeptModels, is_json: bool) -> int:
    """Print the models that can be used without a download, and which is taken of itself."""
    pinned = kept.pinned()
    models = list(cached_models())
    chosen = wanted_model(load_config(config_file()), None)
    is_chosen = chosen not in ("", AUTO)
    try:
        auto = resolve(AUTO)
    except ModelUnavailable as error:
        auto = "none that is here fits this machine" if is_chosen else str(error)
    if is_json:
        rows = [
            {
                "id": model.hub_id,
                "family": model.family,
                "num_bytes": model.num_bytes,
                "folder": str(model.folder),
                "revision": pinned[model.hub_id].revision if model.hub_id in pinned else None,
            }
            for model in models
        ]
        folder = next((str(m.folder) for m in models if str(m.folder) == auto), None)
        packed = [
            {"file": str(o.path), "kind": o.kind, "num_bytes": o.nbytes, "source": o.source}
            for o in packed_files(kept.packed)
        ]
        document = {"schema_version": SCHEMA_VERSION, "cache": str(hub_cache()), "models": rows}
        document["packed"] = packed
        print(json.dumps({**document, "auto": folder}, indent=2))
        return 0
    print(f"{NANO}  bundled; repairs toy bugs, for demonstrations and tests only")
    for model in models:
        pin = "; its sums are known" if model.hub_id in pinned else ""
        size = bytes_in_words(model.num_bytes)
        print(f"{visible(model.hub_id)}  {model.family}, {size}, in the hub cache{pin}")
    for one in packed_files(kept.packed):
        origin = f"{one.source}, which is not there" if one.is_orphan else one.source or "unknown"
        print(f"{one.path}  packed {one.kind}, {bytes_in_words(one.nbytes)}, of {visible(origin)}")
    if is_chosen:
        print(f"set: {visible(chosen)}, in {config_file()}; taken where no --model is given")
    print(f"auto: {auto}")
    for sentence in kept.faults():
        print(on_screen(sentence), file=sys.stderr)
    return 0


def _pull(kept: KeptModels, hub_id: str, revision: str) -> int:
    listing = kept.look_up(hub_id, revision)
    if _is_too_large(hub_id):
        more = f"`qwen-agent plan --model {hub_id}` says more"
        print(f"{hub_id} does not fit this machine as it is; {more}.", flush=True)
    before = kept.pinned_revision(hub_id)
    with Meter("loading", listing.num_bytes) as meter:
        kept.hub.download(listing, meter.to)
    with Meter("reading", listing.num_bytes) as meter:
        found = kept.pin(listing, meter.add)
    print(f"{_named(found)}: {len(found.files)} files, {bytes_in_words(found.num_bytes)}")
    if before not in ("", found.revision):
        print(f"It was pinned to {_short(before)}, and is now to {_short(found.revision)}.")
    print(f"Use it: --model {hub_id}")
    return 0


def _is_too_large(hub_id: str) -> bool:
    """Whether a release of the family does not fit; of others it is not known yet."""
    if find(hub_id) is None:
        return False
    return isinstance(answer(named(hub_id), read_hardware()).result, Refusal)


def _verify(kept: KeptModels, name: str) -> int:
    total = kept.found(name)[0].num_bytes
    with Meter("reading", total) as meter:
        expected, problems = kept.verify(name, meter.add)
        found = list(problems)
    for problem in found:
        print(f"{visible(problem.name)}: {visible(problem.words)}")
    if found:
        print(f"{_named(expected)}: {len(found)} of {len(expected.files)} files are not whole.")
        return FAILED
    size = bytes_in_words(expected.num_bytes)
    print(f"{_named(expected)}: {len(expected.files)} files, {size}, all as they were pulled.")
    return 0


def _preserve(kept: KeptModels, arguments: Namespace) -> int:
    total = kept.found(arguments.id)[0].num_bytes
    with Meter("copying", total) as meter:
        found = kept.preserve(arguments.id, arguments.folder, meter.add)
    size = bytes_in_words(found.num_bytes)
    print(f"{_named(found)}: {len(found.files)} files, {size}, in {arguments.folder}")
    print(f"Use it, also offline: --model {arguments.folder}")
    return 0


def _remove(kept: KeptModels, name: str, is_sure: bool) -> int:
    size = bytes_in_words(kept.size_of(name))
    where = "" if kept.packed_at(name) else " from the hub cache"
    if not is_sure and not agreed(f"Remove {visible(name)}{where}, {size}?"):
        print("Nothing was removed.")
        return 0
    kept.remove(name)
    print(f"{visible(name)}: {size} freed.")
    return 0


def _named(found: Manifest) -> str:
    return f"{visible(found.hub_id)} at {_short(found.revision)}"


def _short(revision: str) -> str:
    return visible(revision[:NUM_REVISION_DIGITS])
