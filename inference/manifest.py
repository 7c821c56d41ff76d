"""The files of a model with their sums, so that it can be told years later whether it is whole.

A manifest is written when a model was pulled, and again beside the files where it is preserved. It
knows no hub; reading gigabytes is reported as it goes.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from inference.errors import ModelUnavailable
from inference.whole_files import sync_folder

SCHEMA_VERSION = 1
HUB_ID = "[A-Za-z0-9_-][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,95}"
NAME = "qwen-agent-manifest.json"
"""Of the manifest in a folder where a model was preserved."""
PIECE = 1 << 22
PART = ".part"
"""At the end of a name: not whole yet."""

OnBytes = Callable[[int], None]
"""Told how many bytes more were done; fewer than none where some have to be done again."""


def _below(name: str) -> str:
    """Return the name of a file that is below any folder it is looked for in."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or not name.isprintable():
        raise ValueError("names a file that is not below it")
    return name


@dataclass(frozen=True)
class FileSum:
    """One file of a model."""

    name: Annotated[str, AfterValidator(_below)]
    """Below the model's folder, with slashes."""
    num_bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Manifest:
    """All files of one revision of a model."""

    hub_id: Annotated[str, Field(pattern=f"^{HUB_ID}$")]
    revision: Annotated[str, Field(pattern=r"^[\w-][\w.-]*$")]
    """A commit: the name of one folder."""
    files: Annotated[tuple[FileSum, ...], Field(min_length=1)]

    @property
    def num_bytes(self) -> int:
        """Of all files."""
        return sum(file.num_bytes for file in self.files)


@dataclass(frozen=True)
class _Version:
    """What is read first of a manifest: later ones may hold something else."""

    schema_version: int


_MANIFEST, _VERSION = TypeAdapter(Manifest), TypeAdapter(_Version)


@dataclass(frozen=True)
class Problem:
    """A file that is not what it was."""

    name: str
    words: str


def sum_up(
    hub_id: str, revision: str, folder: Path, names: Iterable[str], on_bytes: OnBytes
) -> Manifest:
    """Read the files and make their manifest.

    Raises:
        OSError: one cannot be read.
    """
    files = (
        FileSum(name, (folder / name).stat().st_size, sha256_of(folder / name, on_bytes))
        for name in sorted(names)
    )
    return Manifest(hub_id, revision, tuple(files))


def check(manifest: Manifest, folder: Path, on_bytes: OnBytes) -> Iterator[Problem]:
    """Read the files again and yield those that are not what they were."""
    for file in manifest.files:
        path = folder / file.name
        try:
            size = path.stat().st_size
            if size != file.num_bytes:
                yield Problem(file.name, f"{size:,} bytes where {file.num_bytes:,} were")
            elif sha256_of(path, on_bytes) != file.sha256:
                yield Problem(file.name, "its contents have changed")
        except OSError as error:
            yield Problem(file.name, f"cannot be read: {error.strerror}")


def copy_whole(manifest: Manifest, source: Path, target: Path, on_bytes: OnBytes) -> None:
    """Copy a model into a folder that appears when all of it is there.

    What an earlier try has copied is not copied again if its sum is right; what else lies there,
    as of another revision, is removed.

    Raises:
        ModelUnavailable: a file is not what the manifest says.
        OSError: something cannot be read or written.
    """
    begun = begun_at(target)
    begun.mkdir(parents=True, exist_ok=True)
    _remove_others(manifest, begun)
    for file in manifest.files:
        copied = begun / file.name
        if not _is_copied(file, copied, on_bytes):
            copied.parent.mkdir(parents=True, exist_ok=True)
            _copy(file, source / file.name, copied, on_bytes)
    write(manifest, begun / NAME)
    begun.rename(target)
    sync_folder(target.parent)


def present_bytes(manifest: Manifest, folder: Path) -> int:
    """Return how much of a model is in a folder, as far as the sizes of its files tell."""
    total = 0
    for file in manifest.files:
        with suppress(OSError):
            if (folder / file.name).stat().st_size == file.num_bytes:
                total += file.num_bytes
    return total


def begun_at(target: Path) -> Path:
    """Return the folder that becomes `target`."""
    return target.with_name(f".{target.name}{PART}")


def write(manifest: Manifest, path: Path) -> None:
    """Write a manifest, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps({"schema_version": SCHEMA_VERSION, **asdict(manifest)}, indent=1) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    begun = path.with_name(path.name + PART)
    with begun.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    begun.replace(path)


def read(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ModelUnavailable: it is not there, damaged, or of a newer version.
    """
    try:
        text = path.read_bytes()
        if _VERSION.validate_json(text).schema_version > SCHEMA_VERSION:
            raise ModelUnavailable(f"{path} is of a newer version of qwen-agent")
        return _MANIFEST.validate_json(text, strict=True)
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise ModelUnavailable(
            f"{path} is no manifest that can be read ({place or 'JSON'}: {fault['msg']})"
        ) from error


def sha256_of(path: Path, on_bytes: OnBytes) -> str:
    """Return the SHA-256 of a file in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            on_bytes(len(piece))
    return digest.hexdigest()


def _remove_others(manifest: Manifest, begun: Path) -> None:
    """Remove the files of a folder that are not the model's: all that it holds will be loaded."""
    wanted = {begun / file.name for file in manifest.files}
    for path in list(begun.rglob("*")):
        if path not in wanted and (path.is_symlink() or not path.is_dir()):
            path.unlink()


def _is_copied(file: FileSum, copied: Path, on_bytes: OnBytes) -> bool:
    """Read a file that an earlier try has copied; it is removed unless it is the right one."""
    if copied.is_symlink() or not copied.is_file():
        return False
    num_bytes = copied.stat().st_size
    if num_bytes == file.num_bytes:
        if sha256_of(copied, on_bytes) == file.sha256:
            return True
        on_bytes(-num_bytes)
    copied.unlink()
    return False


def _copy(file: FileSum, source: Path, target: Path, on_bytes: OnBytes) -> None:
    """Copy one file, which gets its name when its sum is right."""
    begun = target.with_name(target.name + PART)
    digest = hashlib.sha256()
    with source.open("rb") as reading, begun.open("wb") as writing:
        while piece := reading.read(PIECE):
            digest.update(piece)
            writing.write(piece)
            on_bytes(len(piece))
        writing.flush()
        os.fsync(writing.fileno())
    if digest.hexdigest() != file.sha256:
        begun.unlink()
        raise ModelUnavailable(
            f"{file.name} is not what it was when it was pulled; "
            "`qwen-agent models pull` again loads what is damaged"
        )
    begun.replace(target)
