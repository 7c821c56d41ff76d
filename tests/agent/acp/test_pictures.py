"""Pictures that an editor sends: shown to the model, kept with the session, told again."""

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from acp import RequestError, schema
from PIL import Image

from agent.frontends.acp.blocks import text_of
from agent.frontends.acp.pictures import as_files, pictures_of
from agent.frontends.acp.rpc import RpcError
from agent.shown import may_see
from tests.agent.acp.editor import Editor

DONE: dict[str, Any] = {"text": "Red.", "calls": []}


def png() -> str:
    content = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


def image(data: str, mime_type: str = "image/png") -> schema.ImageContentBlock:
    return schema.ImageContentBlock(type="image", data=data, mime_type=mime_type)


def resource(blob: str, mime_type: str) -> schema.EmbeddedResourceContentBlock:
    held = schema.BlobResourceContents(uri="file:///a", blob=blob, mime_type=mime_type)
    return schema.EmbeddedResourceContentBlock(type="resource", resource=held)


async def test_a_picture_is_shown_kept_and_told_again(editor: Editor) -> None:
    editor.script(DONE)
    name = await editor.open()
    text = schema.TextContentBlock(type="text", text="What is it?")
    await editor.agent.prompt(session_id=name, prompt=[text, image(png())])
    (kept,) = editor.home.glob(f"**/{name}/pictures/*")
    assert kept.read_bytes() == base64.b64decode(png())
    assert not [*editor.home.glob(f"**/{name}/sent-*")]
    await editor.agent.close_session(session_id=name)
    await editor.agent.load_session(cwd=str(editor.work), session_id=name, mcp_servers=[])
    told = editor.all(schema.UserMessageChunk)[0].content.text
    assert told == "[picture: picture-1.png, 64 x 48 pixels]\nWhat is it?"


async def test_what_is_no_picture_is_refused_and_the_session_goes_on(editor: Editor) -> None:
    editor.script(DONE)
    name = await editor.open()
    with pytest.raises(RequestError, match="is no picture that can be read") as refused:
        await editor.agent.prompt(session_id=name, prompt=[image("aGk=")])
    assert refused.value.code == -32602
    assert (await editor.say(name, "Then in words.")).stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        (image("no base64!"), "picture 1 is not in base64"),
        (image("A" * 4 * 7_000_000), "picture 1 is larger than 20 MB"),
        (image(png(), "image/svg+xml"), "'image/svg.xml' is not shown; send one of image/png"),
        (resource("aGk=", "image/tiff"), "'image/tiff' is not shown"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(block: Any, sentence: str) -> None:
    with pytest.raises(RpcError, match=sentence):
        pictures_of([block])


def test_a_prompt_may_be_pictures_alone(tmp_path: Path) -> None:
    blocks = [image(png()), resource(png(), "image/jpeg")]
    sent = pictures_of(blocks)
    assert text_of(blocks, sent) == "picture-1.png, picture-2.jpg"
    with as_files(sent, tmp_path) as files:
        assert [path.name for path in files] == ["picture-1.png", "picture-2.jpg"]
        assert files[0].parent.stat().st_mode & 0o777 == 0o700
    assert [*tmp_path.iterdir()] == []


def test_pictures_are_taken_unless_the_model_is_known_to_see_none(tmp_path: Path) -> None:
    assert [may_see(name) for name in ("nano", "auto", "Qwen/Qwen3.5-2B")] == [False, True, True]
    (tmp_path / "config.json").write_text('{"model_type": "qwen3_5_text"}')
    assert not may_see(str(tmp_path))
    (tmp_path / "config.json").write_text('{"vision_config": {"patch_size": 16}}')
    assert may_see(str(tmp_path))
