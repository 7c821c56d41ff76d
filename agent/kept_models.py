"""Models on this disk: pulled, verified, preserved in a folder, removed; never loaded.

Beside the hub cache, which every program shares, a pulled model has a manifest of ours in the
user's state folder: one revision, and the sum of every file.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agent.errors import UsageError
from agent.models import HUB_ID
from inference import manifest
from inference.errors import ModelUnavailable
from inference.hub_listing import MAIN, SPARE_BYTES, Hub, Listing, no_room
from inference.manifest import Manifest, OnBytes, Problem
from inference.packed_files import PackedFile, packed_files, weights_folder
from inference.pins import hub_cache, pin_file, pins_folder, read_pin
from inference.profiles import profile_for


@dataclass(frozen=True)
class KeptModels:
    """What is done with models, in one hub cache and one folder of manifests."""

    hub: Hub = field(default_factory=lambda: Hub(hub_cache()))
    manifests: Path = field(default_factory=pins_folder)
    packed: Path = field(default_factory=weights_folder)
    """Where quantized weights are kept."""

    def manifest_file(self, hub_id: str) -> Path:
        """Return where the manifest of a model is kept.

        Raises:
            UsageError: this is no hub id.
        """
        if not HUB_ID.fullmatch(hub_id) or ".." in hub_id:
            raise UsageError(f"{hub_id!r} is no hub id; write owner/name, as Qwen/Qwen3.5-4B")
        return pin_file(hub_id, self.manifests)

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
        if listing.is_main:  # else it is as other programs have left it
            reference = self.hub.entry(listing.hub_id) / "refs" / MAIN
            reference.parent.mkdir(exist_ok=True)
            reference.write_text(listing.revision)
        return found

    def pinned_revision(self, hub_id: str) -> str:
        """Return the commit that a model is pinned to; empty where that is not known."""
        with suppress(ModelUnavailable):  # it is about to be pinned anew
            if pin := read_pin(hub_id, self.manifests):
                return pin.revision
        return ""

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
        if not folder.is_dir():
            self.manifest_file(name)
            if kept := read_pin(name, self.manifests):
                return kept, self.hub.snapshot(name, kept.revision)
        if folder.is_dir():
            raise UsageError(
                f"no sums are known of {name}: only a folder that `qwen-agent models preserve` "
                "has made holds them"
            )
        raise UsageError(
            f"no sums are known of {name}: `qwen-agent models pull` writes them, and loads "
            "nothing that is there already"
        )

    def preserve(self, hub_id: str, target: Path, on_bytes: OnBytes) -> Manifest:
        """Copy a pulled model whole into a new folder, from where it can be used for ever.

        Raises:
            UsageError: no sums are known of it, or the folder cannot be made.
            ModelUnavailable: a file is not what it was, or the disk has no room.
        """
        expected, source = self.found(hub_id)
        target = target.expanduser().absolute()
        if os.path.lexists(target):
            raise UsageError(f"{target} is there already; name a new folder")
        begun = manifest.begun_at(target)
        left = expected.num_bytes - manifest.present_bytes(expected, begun)
        try:
            disk = next(place for place in target.parents if place.exists())
            free = self.hub.free_bytes(disk)
            if left + SPARE_BYTES > free:
                raise ModelUnavailable(f"{hub_id} needs {no_room(left, disk, free)}")
            begun.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{target} cannot be made: {error.strerror}; name another") from error
        try:
            manifest.copy_whole(expected, source, target, on_bytes)
        except OSError as error:
            raise ModelUnavailable(
                f"{hub_id} cannot be copied: {error.filename or target}: {error.strerror}; run "
                "the same again, it goes on from there"
            ) from error
        return expected

    def packed_at(self, name: str) -> PackedFile | None:
        """Return the file of packed weights that is called so in the list."""
        path = Path(name).expanduser().absolute()
        return next((one for one in packed_files(self.packed) if one.path == path), None)

    def size_of(self, name: str) -> int:
        """Return the bytes of a packed file, or of a model: in the hub cache, and packed in ours.

        Raises:
            UsageError: it is not there.
        """
        if one := self.packed_at(name):
            return one.nbytes
        pin, entry, packed = self.manifest_file(name), self.hub.entry(name), self._packed_of(name)
        if not (entry.is_dir() or packed or pin.is_file()):
            raise UsageError(f"{name} is not in {self.hub.cache}")
        files = (f for f in entry.rglob("*") if f.is_file() and not f.is_symlink())
        return sum(file.stat().st_size for file in files) + sum(one.nbytes for one in packed)

    def remove(self, name: str) -> None:
        """Remove a packed file; or a model from the hub cache, its manifest and its packed files.

        Raises:
            UsageError: it is not there.
            ModelUnavailable: a file of it cannot be removed.
        """
        self.size_of(name)
        try:
            if one := self.packed_at(name):
                one.path.unlink(missing_ok=True)
            else:
                self._remove_model(name)
        except OSError as error:
            raise ModelUnavailable(f"{error.filename} cannot be removed: {error.strerror}") from (
                error
            )

    def _remove_model(self, hub_id: str) -> None:
        entry, packed = self.hub.entry(hub_id), self._packed_of(hub_id)
        if entry.is_dir():
            shutil.rmtree(entry)
        for one in packed:
            one.path.unlink(missing_ok=True)
        shutil.rmtree(self.hub.cache / ".locks" / entry.name, ignore_errors=True)
        self.manifest_file(hub_id).unlink(missing_ok=True)

    def _packed_of(self, hub_id: str) -> list[PackedFile]:
        entry = self.hub.entry(hub_id).resolve()
        return [one for one in packed_files(self.packed) if Path(one.source).is_relative_to(entry)]

    def pinned(self) -> Mapping[str, Manifest]:
        """Return the manifests of all pulled models, by hub id."""
        kept = {}
        for hub_id in self._pulled():
            with suppress(ModelUnavailable):
                if pin := read_pin(hub_id, self.manifests):
                    kept[hub_id] = pin
        return kept

    def faults(self) -> Iterator[str]:
        """Yield a sentence for each manifest that cannot be read."""
        for hub_id in self._pulled():
            try:
                read_pin(hub_id, self.manifests)
            except ModelUnavailable as error:
                yield f"{error}; `qwen-agent models pull {hub_id}` writes it anew"

    def _pulled(self) -> list[str]:
        files = sorted(self.manifests.glob("*--*.json"))
        return [file.stem.replace("--", "/", 1) for file in files]
