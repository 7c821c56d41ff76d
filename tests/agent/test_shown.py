"""Pictures that a person shows: which ones, kept where, and what becomes of them later."""

from pathlib import Path

import pytest
from PIL import Image

from agent.errors import UsageError
from agent.events import PictureShown
from agent.frontends.asked import picture_file
from agent.frontends.transcript import as_markdown
from agent.journal import read_all
from agent.session import JOURNAL
from agent.shown import mentioned, sentence_of
from inference.errors import PictureUnreadable
from inference.messages import Message, Picture
from tests.agent.fakes import Say, ScriptedModel
from tests.agent.talking import Talk, start_talk


def seeing(*script: Say) -> ScriptedModel:
    return ScriptedModel([script], can_see=True)


def shot(folder: Path, name: str = "shot.png") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    Image.new("RGB", (64, 48), "red").save(path)
    return path


def talk_of(folder: Path, *script: Say) -> Talk:
    return start_talk(folder, chat=seeing(*script or (Say(text="Red."),)))


def show(talk: Talk, text: str, *pictures: Path) -> None:
    for _ in talk.conversation.turn(text, lambda: False, pictures):
        pass


def pictures_of(talk: Talk) -> tuple[Picture, ...]:
    messages: list[Message] = talk.conversation.session.messages
    return tuple(picture for message in messages for picture in message.pictures)


def test_pictures_are_found_where_a_prompt_names_them(tmp_path: Path) -> None:
    one, two = shot(tmp_path), shot(tmp_path, "a b.PNG")
    text = (
        f'What is @shot.png, and @"a b.PNG"? @shot.png; mail me@shot.png @none.png (@{one}). @x.py'
    )
    assert mentioned(text, tmp_path) == (one, two)


def test_a_picture_outlives_its_file_and_the_process(tmp_path: Path) -> None:
    picture = shot(tmp_path / "pictures")
    talk = talk_of(tmp_path)
    show(talk, "What is it?", picture)
    (kept,) = pictures_of(talk)
    content = picture.read_bytes()
    picture.unlink()
    assert Path(kept.path).read_bytes() == content
    assert Path(kept.path).is_relative_to(talk.conversation.session.folder)
    assert Path(kept.path).stat().st_mode & 0o777 == 0o600
    resumed = talk.resumed(seeing(Say(text="Still red.")))
    assert pictures_of(resumed) == (kept,)


def test_what_was_shown_is_told_by_name(tmp_path: Path) -> None:
    talk = talk_of(tmp_path)
    picture = shot(tmp_path / "pictures")
    events = [*talk.conversation.turn("What is it?", lambda: False, [picture])]
    (shown,) = (event for event in events if isinstance(event, PictureShown))
    assert sentence_of(shown) == "Shown: shot.png, 64 x 48 pixels, about 70 tokens."
    journal = read_all(talk.conversation.session.folder / JOURNAL)
    assert "[picture: shot.png, 64 x 48 pixels]\nWhat is it?" in as_markdown("x", journal)


def test_pictures_count_where_a_prompt_must_fit(tmp_path: Path) -> None:
    talk = talk_of(tmp_path)
    wide = tmp_path / "wide.png"
    Image.new("1", (1500, 1500)).save(wide)
    with pytest.raises(UsageError, match="and the window of scripted has room for"):
        show(talk, "What are they?", *[wide] * 50)


def test_a_file_that_is_no_picture_is_refused_as_an_argument(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.png cannot be read"):
        picture_file(tmp_path / "none.png")


def test_a_fork_has_copies_of_its_own(tmp_path: Path) -> None:
    talk = talk_of(tmp_path)
    show(talk, "What is it?", shot(tmp_path / "pictures"))
    fork = talk.conversation.fork()
    (kept,) = pictures_of(talk)
    (other,) = (one for message in fork.session.messages for one in message.pictures)
    assert (other.digest, other.path != kept.path) == (kept.digest, True)
    assert Path(other.path).read_bytes() == Path(kept.path).read_bytes()
    fork.close()


def test_what_cannot_be_shown_leaves_the_talk_as_it_was(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, Say(text="Hello."))
    with pytest.raises(PictureUnreadable, match="scripted sees no pictures; choose a model"):
        show(talk, "What is it?", shot(tmp_path / "pictures"))
    other = talk_of(tmp_path / "other")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"none")
    with pytest.raises(PictureUnreadable, match="is no picture"):
        show(other, "What is it?", broken)
    assert not [m for m in other.conversation.session.messages if m.role == "user"]
    show(other, "Then in words.")
    assert other.conversation.session.messages[-1].content == "Red."
