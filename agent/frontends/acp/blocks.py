"""A prompt as the client sends it, in blocks, as the one text that the model reads.

Its pictures are in `pictures.py`.
"""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from acp import schema

from agent.frontends.acp.pictures import SentPicture, embedded
from agent.frontends.acp.rpc import INVALID_PARAMS, RpcError

MAX_CHARACTERS = 1_000_000
Block = (
    schema.TextContentBlock
    | schema.ImageContentBlock
    | schema.AudioContentBlock
    | schema.ResourceContentBlock
    | schema.EmbeddedResourceContentBlock
)


def text_of(blocks: Sequence[Block], pictures: Sequence[SentPicture] = ()) -> str:
    """Join the blocks: names of files stand where they are mentioned, what they hold at the end.

    A prompt of nothing but pictures has their names.

    Raises:
        RpcError: there is nothing to read, too much, or something that cannot be read.
    """
    spoken = "".join(map(_spoken, blocks)).strip()
    text = "\n\n".join([spoken, *filter(None, map(_attached, blocks))]).strip()
    text = text or ", ".join(picture.name for picture in pictures)
    if not text:
        raise RpcError(INVALID_PARAMS, "the prompt is empty")
    if len(text) > MAX_CHARACTERS:
        raise RpcError(
            INVALID_PARAMS,
            f"the prompt has {len(text):,} characters, and {MAX_CHARACTERS:,} at most can be read",
        )
    return text


def named(uri: str) -> str:
    """Return how a resource is called in the text: a file by its path and line."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return uri
    if parts.scheme != "file":
        return uri
    line = parts.fragment.removeprefix("L").partition("-")[0].partition(":")[0]
    path = unquote(parts.path)
    return f"{path}:{line}" if line.isdigit() else path


def _spoken(block: Block) -> str:
    match block:
        case schema.TextContentBlock():
            return block.text
        case schema.ResourceContentBlock():
            return f"`{named(block.uri)}`"
        case schema.EmbeddedResourceContentBlock():
            return "" if embedded(block) else f"`{named(block.resource.uri)}`"
        case schema.ImageContentBlock():
            return ""
    raise RpcError(INVALID_PARAMS, f"a prompt has text and pictures, and no {block.type}")


def _attached(block: Block) -> str:
    """Return what a resource holds, under its name."""
    if not isinstance(block, schema.EmbeddedResourceContentBlock) or embedded(block):
        return ""
    if not isinstance(block.resource, schema.TextResourceContents):
        raise RpcError(INVALID_PARAMS, f"{named(block.resource.uri)} is neither text nor a picture")
    name, text = named(block.resource.uri), block.resource.text
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{Path(name).name} ({name}):\n{fence}\n{text.rstrip()}\n{fence}"
