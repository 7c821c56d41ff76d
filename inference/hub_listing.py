"""The hub of models: what a repository there holds, and its files brought into the local cache.

Only what belongs to a model in safetensors is taken: weights, tokenizer, template, licence.
huggingface_hub is imported at the first use, and its exceptions end here. No torch.
"""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from inference.door import OnProgress
from inference.errors import ModelUnavailable, NoSuchModel, first_line

PATTERNS = ("*.safetensors", "*.json", "*.jinja", "*.txt", "LICENSE*", "NOTICE*", "README.md")
"""Files that are taken; a repository may hold the same weights in three more forms."""
MAIN = "main"
"""The branch of a repository that is meant where none is named."""
SPARE_BYTES = 1_000_000_000
"""What stays free on the disk."""


@dataclass(frozen=True)
class HubFile:
    """One file of a repository."""

    name: str
    num_bytes: int
    sha256: str
    """As the hub says it, of large files; else empty."""


@dataclass(frozen=True)
class Listing:
    """The files of one revision."""

    hub_id: str
    revision: str
    """The commit."""
    files: tuple[HubFile, ...]
    is_main: bool = True
    """Whether it was asked for as what the hub's `main` is now."""

    @property
    def num_bytes(self) -> int:
        """Of all files."""
        return sum(file.num_bytes for file in self.files)


@dataclass(frozen=True)
class Hub:
    """A hub, and the folder that huggingface_hub keeps for it."""

    cache: Path
    endpoint: str | None = None
    """None is the one that HF_ENDPOINT names, or huggingface.co."""
    free_bytes: Callable[[Path], int] = field(default=lambda path: shutil.disk_usage(path).free)

    def entry(self, hub_id: str) -> Path:
        """Return the folder of a repository."""
        return self.cache / f"models--{hub_id.replace('/', '--')}"

    def folder(self, listing: Listing) -> Path:
        """Return the folder in which a revision's files are found by their names."""
        return self.snapshot(listing.hub_id, listing.revision)

    def snapshot(self, hub_id: str, revision: str) -> Path:
        """Return the same for a commit."""
        return self.entry(hub_id) / "snapshots" / revision

    def look_up(self, hub_id: str, revision: str) -> Listing:
        """Ask what a revision holds.

        Raises:
            NoSuchModel: the hub has no such repository, revision, or no weights in it.
            ModelUnavailable: the hub cannot be asked, or does not give it out.
        """
        from huggingface_hub import HfApi
        from huggingface_hub.hf_api import RepoFile

        api = HfApi(endpoint=self.endpoint)
        try:
            commit = str(api.model_info(hub_id, revision=revision).sha)
            tree = api.list_repo_tree(hub_id, recursive=True, revision=commit)
            files = tuple(
                HubFile(file.path, file.size, file.lfs.sha256 if file.lfs else "")
                for file in tree
                if isinstance(file, RepoFile) and _is_taken(file.path)
            )
        except _hub_errors() as error:
            raise _refused(hub_id, revision, error) from error
        if not any(file.name.endswith(".safetensors") for file in files):
            raise NoSuchModel(f"{hub_id} on the hub holds no *.safetensors weights")
        return Listing(hub_id, commit, files, revision == MAIN)

    def config(self, listing: Listing) -> dict[str, Any]:
        """Fetch a repository's config.json, which says what model it is.

        Raises:
            ModelUnavailable: there is none, or it cannot be had.
        """
        from huggingface_hub import hf_hub_download

        from inference.hub import progress_bar

        if not any(file.name == "config.json" for file in listing.files):
            raise ModelUnavailable(f"{listing.hub_id} on the hub has no config.json")
        try:
            path = hf_hub_download(
                listing.hub_id,
                "config.json",
                revision=listing.revision,
                cache_dir=self.cache,
                endpoint=self.endpoint,
                tqdm_class=progress_bar(lambda _progress: None),
            )
            text = Path(path).read_bytes()
        except _hub_errors() as error:
            raise _refused(listing.hub_id, listing.revision, error) from error
        with suppress(ValueError):
            content = json.loads(text)
            if isinstance(content, dict):
                return content
        raise ModelUnavailable(f"config.json of {listing.hub_id} holds no JSON object")

    def download(self, listing: Listing, on_progress: OnProgress) -> Path:
        """Bring the files of a revision into the cache, those that are not there; return where.

        Raises:
            ModelUnavailable: the disk has no room, or the download broke off.
        """
        from huggingface_hub import snapshot_download

        from inference.hub import progress_bar

        missing = sum(f.num_bytes for f in listing.files if not self._is_here(listing, f))
        free = self.free_bytes(_nearest(self.cache))
        if missing and missing + SPARE_BYTES > free:
            raise ModelUnavailable(
                f"{listing.hub_id} needs {no_room(missing, self.cache, free)}; "
                "set HF_HOME to a folder on a larger disk"
            )
        try:
            snapshot_download(
                listing.hub_id,
                revision=listing.revision,
                cache_dir=self.cache,
                endpoint=self.endpoint,
                allow_patterns=[file.name for file in listing.files],
                tqdm_class=progress_bar(on_progress),
            )
        except _hub_errors() as error:
            raise ModelUnavailable(
                f"the download of {listing.hub_id} broke off ({first_line(error)}); run the same "
                "again, it goes on from there"
            ) from error
        return self.folder(listing)

    def _is_here(self, listing: Listing, file: HubFile) -> bool:
        with suppress(OSError):
            return (self.folder(listing) / file.name).stat().st_size == file.num_bytes
        return False


def no_room(num_bytes: int, folder: Path, num_free: int) -> str:
    """Say what is needed, the reserve included, and what a disk has."""
    needed, spare, free = map(in_words, (num_bytes, SPARE_BYTES, num_free))
    return f"{needed} and {spare} that stay free, and {folder} has {free}"


def in_words(num_bytes: int) -> str:
    """Write a number of bytes as disks are sold."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= size:
            return f"{num_bytes / size:,.1f} {unit}"
    return f"{num_bytes} bytes"


def _is_taken(name: str) -> bool:
    """Whether a file belongs to the model; what lies in folders is for other programs."""
    return "/" not in name and any(fnmatch(name, pattern) for pattern in PATTERNS)


def _refused(hub_id: str, revision: str, error: Exception) -> ModelUnavailable:
    """Say in a sentence why a repository cannot be looked up."""
    from huggingface_hub import errors as hub

    if isinstance(error, hub.GatedRepoError):
        return ModelUnavailable(
            f"{hub_id} is given out to those only who have agreed to its licence: do that on "
            "its page, then run `hf auth login`"
        )
    if isinstance(error, hub.RevisionNotFoundError):
        return NoSuchModel(f"{hub_id} has no revision {revision}")
    if isinstance(error, (hub.RepositoryNotFoundError, hub.HFValidationError)):
        return NoSuchModel(
            f"the hub has no {hub_id}: check the name, or run `hf auth login` if it is private"
        )
    return ModelUnavailable(
        f"the hub cannot be asked for {hub_id} ({first_line(error)}); go online, or give "
        "the folder of a checkpoint"
    )


def _hub_errors() -> tuple[type[Exception], ...]:
    """Return what goes wrong on the network, on the disk, and at the hub."""
    from huggingface_hub import errors as hub

    http: type[Exception] = hub.HTTPError  # type: ignore[attr-defined]  # the hub's client's
    return OSError, http, hub.HFValidationError, hub.LocalEntryNotFoundError


def _nearest(path: Path) -> Path:
    """Return the path, or the innermost folder around it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())
