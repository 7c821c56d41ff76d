"""Pictures that a person shows: found in what they typed, and kept with the session.

The session has a copy of its own, named by what is in it: a conversation that is gone on with
tomorrow shows what it showed today. What the model sees of it is `inference/vision.py`.
"""

import json
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from agent.errors import SessionError
from agent.events import PictureShown
from agent.models import NANO
from inference.chat import ChatModel
from inference.errors import PictureUnreadable
from inference.messages import Picture
from inference.pictures import num_tokens_of, read_picture, sight_of

FOLDER = "pictures"
BLIND = (NANO,)
"""Names of models that see none."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
_MENTION = re.compile(r"(?<![^\s(])@(\"[^\"\n]+\"|\S+)")


def mentioned(text: str, folder: Path) -> tuple[Path, ...]:
    """Return the pictures that a prompt names, as `@shot.png` or `@"a shot.png"`; each once."""
    return tuple(dict.fromkeys(_mentioned(text, folder)))


def _mentioned(text: str, folder: Path) -> Iterator[Path]:
    for found in _MENTION.finditer(text):
        name = found[1].strip('"').rstrip(".,;:!?)")
        path = folder / Path(name).expanduser()
        if is_picture(path):
            yield path


def is_picture(path: Path) -> bool:
    """Say whether a file is called as pictures are."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def shown_to(chat: ChatModel, paths: Iterable[Path], session_folder: Path) -> tuple[Picture, ...]:
    """Keep pictures for a model that is to see them.

    Raises:
        PictureUnreadable: one cannot be shown, or the model sees none.
        SessionError: one cannot be kept.
    """
    paths = list(paths)
    if paths and not chat.can_see:
        raise PictureUnreadable(
            f"{chat.name} sees no pictures; choose a model that does, or say in words what is on "
            f"{paths[0].name}."
        )
    return tuple(_kept(read_picture(path), session_folder / FOLDER) for path in paths)


def may_see(name: str) -> bool:
    """Say whether a model may see pictures; what is not known before it is loaded counts as yes."""
    folder = Path(name)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return name not in BLIND
    return sight_of(config, folder) is not None


def told_of(pictures: Iterable[Picture]) -> Iterator[PictureShown]:
    """Yield the events that tell a person what the model is shown."""
    for one in pictures:
        yield PictureShown(one.name, one.width, one.height, num_tokens_of(one))


def sentence_of(shown: PictureShown) -> str:
    """Say for a person what the model is shown."""
    size = f"{shown.width:,} x {shown.height:,} pixels"
    return f"Shown: {shown.name}, {size}, about {shown.num_tokens:,} tokens."


def mark_of(picture: Picture) -> str:
    """Return what stands for a picture where only text is shown."""
    return f"[picture: {picture.name}, {picture.width} x {picture.height} pixels]"


def _kept(picture: Picture, folder: Path) -> Picture:
    """Copy a picture into the folder of the session, whole or not at all."""
    target = folder / f"{picture.digest}{Path(picture.path).suffix.lower()}"
    kept = replace(picture, path=str(target))
    if target.exists():
        return kept
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        fresh = target.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            fresh.write_bytes(Path(picture.path).read_bytes())
            fresh.chmod(0o600)
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise SessionError(f"{target} cannot be written: {error.strerror}") from error
    return kept
