"""Text to ids and back, and which ids text may never become."""

import json
import random
from pathlib import Path

import pytest

from inference.errors import ModelUnavailable
from inference.tokenizer import Tokenizer

ODD = (
    "naïve",
    "数を返す",
    "🙂",
    "\u200d",
    "e\u0301",
    "\x00",
    "\x7f",
    "\n",
    "\t",
    " ",
    "𐍈",
    "﷽",
    "a" * 9,
)
SPELLED = ("<|im_end|>", "<|im_start|>", "<tool_call>", "</think>", "<|endoftext|>", "<think")


def test_text_comes_back_whatever_it_holds(tokenizer: Tokenizer) -> None:
    draw = random.Random(1)
    for _ in range(300):
        text = "".join(draw.choices(ODD + SPELLED, k=8)).replace("e\u0301", "é")
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_every_byte_has_a_token(tokenizer: Tokenizer) -> None:
    text = "".join(map(chr, range(0x250)))
    tokens = tokenizer.encode(text)
    assert b"".join(map(tokenizer.token_bytes, tokens)) == text.encode()


def test_text_that_spells_control_tokens_is_ordinary_text(tokenizer: Tokenizer) -> None:
    draw = random.Random(2)
    controls = set(tokenizer.controls.values())
    assert len(controls) == 9
    for name in tokenizer.controls:
        assert tokenizer.encode(name)
        assert not controls.intersection(tokenizer.encode(name))
    for _ in range(300):
        text = "".join(draw.choices([*ODD, *tokenizer.controls], k=8))
        assert not controls.intersection(tokenizer.encode(text))


def test_controls_are_asked_for_by_name(tokenizer: Tokenizer) -> None:
    token = tokenizer.control("</think>")
    assert tokenizer.decode([token]) == "</think>"
    assert tokenizer.has_control("</think>")
    assert not tokenizer.has_control("<|vision_start|>")
    with pytest.raises(ModelUnavailable, match=r"no token <\|vision_start\|>"):
        tokenizer.control("<|vision_start|>")


def test_ids_past_the_vocabulary_are_no_text(tokenizer: Tokenizer) -> None:
    assert tokenizer.token_bytes(tokenizer.vocab_size) == b""
    assert tokenizer.token_bytes(tokenizer.vocab_size - 1) != b""


def test_a_name_that_is_not_unicode_can_be_encoded(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("caf\udce9.py")) == "caf?.py"


def test_a_folder_gives_its_tokenizer(tmp_path: Path, definition: str) -> None:
    (tmp_path / "tokenizer.json").write_text(definition, encoding="utf-8")
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.decode(tokenizer.encode("def f(): ...")) == "def f(): ..."


def test_settings_for_training_do_not_cut_or_pad_text(definition: str) -> None:
    parsed = json.loads(definition)
    limit = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    parsed["truncation"] = limit
    text = "a much longer text than three tokens"
    assert Tokenizer(json.dumps(parsed)).encode(text) == Tokenizer(definition).encode(text)


def word_level(definition: str) -> str:
    parsed = json.loads(definition)
    parsed["decoder"] = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    return json.dumps(parsed)


def test_what_is_no_tokenizer_is_refused_with_a_sentence(tmp_path: Path, definition: str) -> None:
    with pytest.raises(ModelUnavailable, match=r"tokenizer\.json cannot be read"):
        Tokenizer.from_folder(tmp_path)
    file = tmp_path / "tokenizer.json"
    no_decoder = json.dumps({**json.loads(definition), "decoder": None})
    no_model = json.dumps({**json.loads(definition), "model": {"type": "BPE"}})
    no_merges = json.dumps({**json.loads(definition), "model": {"type": "BPE", "vocab": {"a": 0}}})
    wrong = (word_level(definition), no_decoder, no_model, no_merges)
    for damaged in ("", "{}", "[]", '{"added_tokens": []}', definition[:500], *wrong):
        file.write_text(damaged, encoding="utf-8")
        with pytest.raises(ModelUnavailable, match=r"^[^\n]*\.$"):
            Tokenizer.from_folder(tmp_path)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelUnavailable):
        Tokenizer.from_folder(tmp_path)
