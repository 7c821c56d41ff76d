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

from inference.errors import ModelUnavailable

SCHEMA_VERSION = 1
NAME = "qwen-agent-manifest.json"
"""Of the manifest in a folder where a model was preserved."""
PIECE = 1 << 22
PART = ".part"
"""At the end of a name: not whole yet."""

OnBytes = Callable[[int], None]
"""Told how many bytes more were done."""


@dataclass(frozen=True)
class FileSum:
    """One file of a model."""

    name: str
    """Below the model's folder, with slashes."""
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """All files of one revision of a model."""

    hub_id: str
    revision: str
    files: tuple[FileSum, ...]

    @property
    def num_bytes(self) -> int:
        """Of all files."""
        return sum(file.num_bytes for file in self.files)


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

    What an earlier try has copied is not copied again.

    Raises:
        ModelUnavailable: a file is not what the manifest says.
        OSError: something cannot be read or written.
    """
    begun = begun_at(target)
    begun.mkdir(parents=True, exist_ok=True)
    for file in manifest.files:
        copied = begun / file.name
        if copied.is_file() and copied.stat().st_size == file.num_bytes:
            on_bytes(file.num_bytes)
            continue
        copied.parent.mkdir(parents=True, exist_ok=True)
        _copy(file, source / file.name, copied, on_bytes)
    write(manifest, begun / NAME)
    begun.rename(target)
    _sync(target.parent)


def copied_bytes(manifest: Manifest, target: Path) -> int:
    """Return how much of a model an earlier try has copied."""
    begun, total = begun_at(target), 0
    for file in manifest.files:
        with suppress(OSError):
            if (begun / file.name).stat().st_size == file.num_bytes:
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
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["schema_version"] > SCHEMA_VERSION:
            raise ModelUnavailable(f"{path} is of a newer version of qwen-agent")
        files = tuple(FileSum(**file) for file in values["files"])
        manifest = Manifest(str(values["hub_id"]), str(values["revision"]), files)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelUnavailable(f"{path} is no manifest that can be read") from error
    if any(_leads_out(file.name) for file in manifest.files):
        raise ModelUnavailable(f"{path} names files that are not below it")
    return manifest


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


def _sync(folder: Path) -> None:
    """See to it that a name in a folder outlives a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts
