"""Pictures as a client sends them with a prompt; as files they are there while the turn runs.

What is on them nobody looks at here: `agent/shown.py` keeps those that can be shown.
"""

import base64
import binascii
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from acp import schema

from agent.frontends.acp.rpc import INVALID_PARAMS, RpcError
from inference.pictures import MAX_FILE_BYTES

ENDS = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/bmp": ".bmp",
}
"""How a file of each type is called."""


@dataclass(frozen=True)
class SentPicture:
    """A picture that came with a prompt."""

    name: str
    content: bytes


def pictures_of(blocks: Sequence[object]) -> tuple[SentPicture, ...]:
    """Take the pictures out of a prompt.

    Raises:
        RpcError: one is too large, no base64, or of a type that is not shown.
    """
    found: list[SentPicture] = []
    for block in blocks:
        if isinstance(block, schema.ImageContentBlock):
            found.append(_decoded(block.data, block.mime_type, len(found) + 1))
        elif (held := embedded(block)) is not None:
            found.append(_decoded(held.blob, held.mime_type or "", len(found) + 1))
    return tuple(found)


def embedded(block: object) -> schema.BlobResourceContents | None:
    """Return the picture that a resource holds, if it does."""
    if not isinstance(block, schema.EmbeddedResourceContentBlock):
        return None
    held = block.resource
    if not isinstance(held, schema.BlobResourceContents):
        return None
    return held if (held.mime_type or "").startswith("image/") else None


@contextmanager
def as_files(pictures: Sequence[SentPicture], folder: Path) -> Iterator[tuple[Path, ...]]:
    """Have pictures in files that only this user can read, in a folder of their own."""
    if not pictures:
        yield ()
        return
    with TemporaryDirectory(prefix="sent-", dir=folder) as own:
        paths = tuple(Path(own) / picture.name for picture in pictures)
        for path, picture in zip(paths, pictures, strict=True):
            path.write_bytes(picture.content)
        yield paths


def _decoded(data: str, mime_type: str, number: int) -> SentPicture:
    if (end := ENDS.get(mime_type)) is None:
        raise RpcError(
            INVALID_PARAMS,
            f"a picture of type {mime_type[:40]!r} is not shown; send one of {', '.join(ENDS)}",
        )
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RpcError(INVALID_PARAMS, f"picture {number} is not in base64") from error
    if len(content) > MAX_FILE_BYTES:
        limit = f"{MAX_FILE_BYTES // 1_000_000} MB"
        raise RpcError(INVALID_PARAMS, f"picture {number} is larger than {limit}; make it smaller")
    return SentPicture(f"picture-{number}{end}", content)
