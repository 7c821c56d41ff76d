"""Models on this disk: pulled, verified, preserved in a folder, removed; never loaded.

Beside the hub cache, which every program shares, a pulled model has a manifest of ours in the
user's state folder: one revision, and the sum of every file.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agent.config import state_folder
from agent.errors import UsageError
from agent.models import HUB_ID, hub_cache
from inference import manifest
from inference.errors import ModelUnavailable
from inference.hub_listing import SPARE_BYTES, Hub, Listing
from inference.manifest import Manifest, OnBytes, Problem
from inference.packed_files import PackedFile, packed_files, weights_folder
from inference.profiles import profile_for


@dataclass(frozen=True)
class KeptModels:
    """What is done with models, in one hub cache and one folder of manifests."""

    hub: Hub = field(default_factory=lambda: Hub(hub_cache()))
    manifests: Path = field(default_factory=lambda: state_folder() / "models")
    packed: Path = field(default_factory=weights_folder)
    """Where quantized weights are kept."""

    def manifest_file(self, hub_id: str) -> Path:
        """Return where the manifest of a model is kept.

        Raises:
            UsageError: this is no hub id.
        """
        if not HUB_ID.fullmatch(hub_id) or ".." in hub_id:
            raise UsageError(f"{hub_id} is no hub id; write owner/name, as Qwen/Qwen3.5-4B")
        return self.manifests / f"{hub_id.replace('/', '--')}.json"

    def look_up(self, hub_id: str, revision: str) -> Listing:
        """Ask the hub what a model is made of; gigabytes of one that cannot be run are refused.

        Raises:
            UsageError: this is no hub id.
            ModelUnavailable: the hub does not give it out, or it is of no family we can run.
        """
        self.manifest_file(hub_id)
        listing = self.hub.look_up(hub_id, revision)
        profile_for(self.hub.config(listing), None)
        return listing

    def pin(self, listing: Listing, on_bytes: OnBytes) -> Manifest:
        """Read what was downloaded, compare it with what the hub says, and write its manifest.

        Raises:
            ModelUnavailable: the hub gave out something else, which is removed.
        """
        folder = self.hub.folder(listing)
        names = [file.name for file in listing.files]
        found = manifest.sum_up(listing.hub_id, listing.revision, folder, names, on_bytes)
        said = {file.name: file.sha256 for file in listing.files if file.sha256}
        wrong = [f.name for f in found.files if said.get(f.name, f.sha256) != f.sha256]
        for name in wrong:
            (folder / name).resolve().unlink(missing_ok=True)  # the next pull loads it anew
            (folder / name).unlink(missing_ok=True)
        if wrong:
            raise ModelUnavailable(
                f"{wrong[0]} came damaged and was removed ({len(wrong)} files in all); pull again"
            )
        manifest.write(found, self.manifest_file(listing.hub_id))
        reference = self.hub.entry(listing.hub_id) / "refs" / "main"
        reference.parent.mkdir(exist_ok=True)
        reference.write_text(listing.revision)
        return found

    def verify(self, name: str, on_bytes: OnBytes) -> tuple[Manifest, Iterator[Problem]]:
        """Read a pulled model, or one preserved in a folder, and yield what is not as it was.

        Raises:
            UsageError: no sums are known of it.
            ModelUnavailable: its manifest cannot be read.
        """
        expected, folder = self.found(name)
        return expected, manifest.check(expected, folder, on_bytes)

    def found(self, name: str) -> tuple[Manifest, Path]:
        """Return the manifest of a model and the folder of its files.

        Raises:
            UsageError: no sums are known of it.
            ModelUnavailable: its manifest cannot be read.
        """
        folder = Path(name).expanduser()
        if (folder / manifest.NAME).is_file():
            return manifest.read(folder / manifest.NAME), folder
        file = self.manifest_file(name) if not folder.is_dir() else folder / manifest.NAME
        if not file.is_file():
            raise UsageError(
                f"no sums are known of {name}: `qwen-agent models pull` writes them, and loads "
                "nothing that is there already"
            )
        kept = manifest.read(file)
        return kept, self.hub.entry(kept.hub_id) / "snapshots" / kept.revision

    def preserve(self, hub_id: str, target: Path, on_bytes: OnBytes) -> Manifest:
        """Copy a pulled model whole into a new folder, from where it can be used for ever.

        Raises:
            UsageError: no sums are known of it, or the folder is something else's.
            ModelUnavailable: a file is not what it was, or the disk has no room.
        """
        expected, source = self.found(hub_id)
        target = target.expanduser().absolute()
        if target.exists():
            raise UsageError(f"{target} is there already; name a new folder")
        left = expected.num_bytes - manifest.copied_bytes(expected, target)
        disk = next(place for place in target.parents if place.exists())
        free = self.hub.free_bytes(disk)
        if left + SPARE_BYTES > free:
            raise ModelUnavailable(
                f"{hub_id} needs {left / 1e9:.1f} GB, and {disk} has {free / 1e9:.1f} GB"
            )
        try:
            manifest.copy_whole(expected, source, target, on_bytes)
        except OSError as error:
            raise ModelUnavailable(
                f"{hub_id} cannot be copied: {error.filename or target}: {error.strerror}; run "
                "the same again, it goes on from there"
            ) from error
        return expected

    def size_of(self, hub_id: str) -> int:
        """Return the bytes that a model takes in the hub cache, and its packed weights in ours.

        Raises:
            UsageError: it is not there.
        """
        self.manifest_file(hub_id)
        entry = self.hub.entry(hub_id)
        if not entry.is_dir():
            raise UsageError(f"{hub_id} is not in {self.hub.cache}")
        files = (f for f in entry.rglob("*") if f.is_file() and not f.is_symlink())
        packed = sum(one.nbytes for one in self._packed_of(hub_id))
        return sum(file.stat().st_size for file in files) + packed

    def remove(self, hub_id: str) -> None:
        """Remove a model from the hub cache, its manifest and what was packed of it.

        Raises:
            UsageError: it is not there.
            ModelUnavailable: a file of it cannot be removed.
        """
        self.size_of(hub_id)
        entry = self.hub.entry(hub_id)
        packed = self._packed_of(hub_id)
        try:
            shutil.rmtree(entry)
            for one in packed:
                one.path.unlink(missing_ok=True)
        except OSError as error:
            raise ModelUnavailable(f"{error.filename} cannot be removed: {error.strerror}") from (
                error
            )
        shutil.rmtree(self.hub.cache / ".locks" / entry.name, ignore_errors=True)
        self.manifest_file(hub_id).unlink(missing_ok=True)

    def _packed_of(self, hub_id: str) -> list[PackedFile]:
        entry = self.hub.entry(hub_id).resolve()
        return [one for one in packed_files(self.packed) if Path(one.source).is_relative_to(entry)]

    def pinned(self) -> Mapping[str, Manifest]:
        """Return the manifests of all pulled models, by hub id."""
        kept = {}
        for file in sorted(self.manifests.glob("*.json")):
            with suppress(ModelUnavailable):  # `verify` says of one what is wrong with it
                one = manifest.read(file)
                kept[one.hub_id] = one
        return kept
