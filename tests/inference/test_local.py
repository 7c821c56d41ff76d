"""The door of the room over a real engine: a small model that says what a script tells it to."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor

from inference.chat import ChatModel
from inference.engine import Engine
from inference.errors import ContextOverflow, ModelUnavailable
from inference.headers import read_json
from inference.local import NANO_FOLDER, LocalChat, open_chat
from inference.messages import (
    BadToolCall,
    Message,
    Piece,
    Prefill,
    ReplyEnd,
    ReplyOptions,
    SamplingOptions,
    Text,
    Thinking,
    ThinkingHistory,
    ToolCall,
    ToolSpec,
)
from inference.model import Model
from inference.pictures import Place
from inference.plan import GIB, Offer, Plan, Room
from inference.planner import plan
from inference.profiles import NANO, QWEN2_5, QWEN3, QWEN3_5, QWEN3_8, TAGS, Profile
from inference.shapes import shape_of
from inference.state import HybridState
from inference.tokenizer import Tokenizer
from inference.transcript import Rendered, Transcript, written

BASH = ToolSpec("bash", "Run.", {"type": "object", "properties": {"command": {"type": "string"}}})
START = [Message("system", "You mend code."), Message("user", "The test fails.")]
PLAIN = ReplyOptions(thinking=False)


def tiny_config(tokenizer: Tokenizer, window: int = 1024) -> transformers.PreTrainedConfig:
    return transformers.Qwen3_5TextConfig(
        vocab_size=tokenizer.vocab_size + 3,  # padded, as the family's are
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        linear_num_key_heads=2,
        linear_num_value_heads=2,
        max_position_embeddings=window,
    )


def tiny_module(tokenizer: Tokenizer, window: int = 1024) -> transformers.PreTrainedModel:
    torch.manual_seed(3)
    config = tiny_config(tokenizer, window)
    return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)


class ScriptedModel(Model):
    """A real model with a real state, whose next token is read from a script."""

    script: tuple[int, ...] = ()
    num_prompt = 0

    def forward_past(
        self,
        tokens: Sequence[int],
        state: HybridState,
        stops: Sequence[int],
        places: Sequence[Place] = (),
    ) -> list[Tensor]:
        """Run the model, then put the script's token first."""
        *passed, last = super().forward_past(tokens, state, stops, places)
        logits = last.clone()
        position = len(state) - self.num_prompt
        if 0 <= position < len(self.script):
            logits[self.script[position]] = 1e4
        return [*passed, logits]


class Talk:
    """A chat whose replies are written by the test."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        profile: Profile,
        window: int = 1024,
        history: ThinkingHistory = "preserve",
        reuse: bool = True,
    ) -> None:
        self.model = ScriptedModel(tiny_module(tokenizer, window))
        self.tokenizer = tokenizer
        self.history = history
        self.engine = Engine(self.model, cache_bytes=10_000_000)
        self.chat = LocalChat(self.engine, tokenizer, profile, "tiny", history, reuse)

    def render(self, messages: Sequence[Message], thinking: bool = True) -> Rendered:
        transcript = Transcript(self.tokenizer, self.chat.profile, (BASH,), self.history)
        return transcript.render(messages, thinking)

    def say(
        self,
        messages: Sequence[Message],
        reply: str,
        options: ReplyOptions = PLAIN,
        cancel: Callable[[], bool] = lambda: False,
        tools: Sequence[ToolSpec] = (BASH,),
    ) -> list[Piece]:
        transcript = Transcript(self.tokenizer, self.chat.profile, tools, self.history)
        self.model.num_prompt = len(transcript.render(messages, options.thinking).tokens)
        self.model.script = self.ids(reply)
        greedy = replace(options, sampling=SamplingOptions())
        return list(self.chat.reply(messages, tools, greedy, cancel))

    def ids(self, reply: str) -> tuple[int, ...]:
        encode, control = self.tokenizer.encode, self.tokenizer.control
        parts = (encode(p) if isinstance(p, str) else (control(p.name),) for p in written(reply))
        return tuple(token for part in parts for token in part)


def end_of(pieces: Sequence[Piece]) -> ReplyEnd:
    end = pieces[-1]
    assert isinstance(end, ReplyEnd)
    return end


@pytest.fixture
def talk(tokenizer: Tokenizer) -> Talk:
    return Talk(tokenizer, QWEN3_8)


CALL = (
    "Running.\n\n<tool_call>\n<function=bash>\n<parameter=command>\nls\n</parameter>\n"
    "</function>\n</tool_call><|im_end|>"
)


def test_a_reply_streams_as_pieces_and_ends_with_the_whole_message(talk: Talk) -> None:
    pieces = talk.say(START, f"Look first.\n</think>\n\n{CALL}", ReplyOptions())
    kinds = [type(piece) for piece in pieces]
    assert kinds[0] is Prefill
    assert kinds[-2:] == [ToolCall, ReplyEnd]
    assert "".join(p.text for p in pieces if isinstance(p, Thinking)) == "Look first."
    assert "".join(p.text for p in pieces if isinstance(p, Text)) == "Running."
    end = end_of(pieces)
    assert end.stop_reason == "end_turn"
    assert end.message.content == "Running."
    assert end.message.thinking == "Look first."
    assert end.message.tool_calls == (ToolCall("bash", {"command": "ls"}),)
    opener = (talk.tokenizer.control("<think>"), *talk.tokenizer.encode("\n"))
    assert end.message.token_ids == opener + talk.model.script


def test_a_loop_of_calls_prefills_only_what_is_new(talk: Talk) -> None:
    messages = list(START)
    num_computed = num_read = 0
    for n in range(4):
        usage = (end := end_of(talk.say(messages, CALL))).usage
        assert usage.num_reused == num_read
        num_read = usage.num_prompt + usage.num_generated - 1  # the last was drawn, not read
        num_computed += usage.num_prefilled + usage.num_generated
        messages += [end.message, Message("tool", f"file_{n}.py")]
    final = Transcript(talk.tokenizer, QWEN3_8, (BASH,)).render(messages[:-1], thinking=False)
    assert num_computed <= len(final.tokens) + 4


def test_a_rewind_to_an_earlier_turn_starts_from_its_boundary(talk: Talk) -> None:
    messages = list(START)
    for n in range(3):
        messages += [end_of(talk.say(messages, CALL)).message, Message("tool", f"file_{n}.py")]
        messages += [end_of(talk.say(messages, "Done.<|im_end|>")).message]
        messages += [Message("user", f"again {n}")]
    back = [*messages[:5], Message("user", "something else")]
    end = end_of(talk.say(back, "Sure.<|im_end|>"))
    kept = Transcript(talk.tokenizer, QWEN3_8, (BASH,)).render(messages[:5], False).boundaries[4]
    assert end.usage.num_reused >= kept - 2  # the last token drawn and the newline were not read


def test_reuse_changes_no_token(tokenizer: Tokenizer) -> None:
    def replies(reuse: bool) -> list[tuple[int, ...]]:
        model = Model(tiny_module(tokenizer))
        engine = Engine(model, cache_bytes=10_000_000)
        chat = LocalChat(engine, tokenizer, NANO, "tiny", reuse=reuse)
        messages, out = list(START), []
        for n in range(4):
            options = ReplyOptions(max_new_tokens=12)
            end = end_of(list(chat.reply(messages, (), options, lambda: False)))
            out.append(end.message.token_ids)
            messages += [end.message, Message("tool", f"result {n}")]
        return out

    assert replies(reuse=True) == replies(reuse=False)


def test_whatever_a_model_writes_can_be_gone_on_from(tokenizer: Tokenizer) -> None:
    """Random weights write control tokens anywhere; the checks at run time must all hold."""
    engine = Engine(Model(tiny_module(tokenizer, window=2048)), cache_bytes=10_000_000)
    chat = LocalChat(engine, tokenizer, QWEN3_8, "tiny")
    messages = list(START)
    for seed in range(12):
        sampling = SamplingOptions(temperature=5.0, seed=seed)
        options = ReplyOptions(sampling, max_new_tokens=25, thinking=seed % 2 == 0)
        end = end_of(list(chat.reply(messages, (BASH,), options, lambda: False)))
        assert end.usage.num_prompt == end.usage.num_reused + end.usage.num_prefilled
        messages += [end.message, Message("tool" if seed % 3 else "user", "go on")]


def test_text_after_a_call_stays_apart_from_the_text_before(talk: Talk) -> None:
    reply = CALL.replace("<|im_end|>", "\nAfter.<|im_end|>")
    assert end_of(talk.say(START, reply)).message.content == "Running.\n\nAfter."


def test_a_reply_cut_at_its_limit_carries_out_no_half_call(talk: Talk) -> None:
    num_tokens = len(talk.ids(CALL)) - 8
    end = end_of(talk.say(START, CALL, ReplyOptions(max_new_tokens=num_tokens, thinking=False)))
    assert end.stop_reason == "max_tokens"
    (call,) = end.message.tool_calls
    assert isinstance(call, BadToolCall)
    assert "cut off" in call.reason
    assert call.cut_at == num_tokens


def test_a_cancelled_reply_keeps_what_it_said_and_can_be_gone_on_from(talk: Talk) -> None:
    said: list[Piece] = []
    reply = "One two three four five six.<|im_end|>"
    num_looks = iter(range(1000))
    pieces = talk.say(START, reply, cancel=lambda: next(num_looks) > 4)
    said += pieces
    end = end_of(said)
    assert end.stop_reason == "cancelled"
    assert end.message.content
    assert "One two three four five six.".startswith(end.message.content)
    longer = [*START, end.message, Message("user", "go on")]
    after = end_of(talk.say(longer, "Yes.<|im_end|>"))
    assert after.message.content == "Yes."
    assert after.usage.num_reused >= end.usage.num_prompt


def test_a_cancelled_prefill_ends_with_an_empty_reply(talk: Talk) -> None:
    end = end_of(talk.say(START, "x", cancel=lambda: True))
    assert end.stop_reason == "cancelled"
    assert end.message == Message("assistant", "")
    assert (
        end_of(talk.say([*START, end.message, START[1]], "Ok.<|im_end|>")).message.content == "Ok."
    )


def test_a_conversation_that_fills_the_window_is_refused_in_words(tokenizer: Tokenizer) -> None:
    talk = Talk(tokenizer, QWEN3_8, window=200)
    with pytest.raises(ContextOverflow, match=r"window of tiny is 200, which leaves no room"):
        talk.say([START[0], Message("user", "word " * 500)], "x")


def test_a_reply_never_grows_past_the_window(tokenizer: Tokenizer) -> None:
    talk = Talk(tokenizer, NANO, window=60)
    end = end_of(talk.say(START, "word " * 200))
    assert end.stop_reason == "max_tokens"
    assert end.usage.num_prompt + end.usage.num_generated == 60


def test_the_preset_of_the_family_is_used_unless_the_caller_chooses(tokenizer: Tokenizer) -> None:
    def draw(profile: Profile, options: ReplyOptions) -> tuple[int, ...]:
        model = Model(tiny_module(tokenizer))
        chat = LocalChat(Engine(model, cache_bytes=0), tokenizer, profile, "tiny")
        return end_of(list(chat.reply(START, (), options, lambda: False))).message.token_ids

    free = ReplyOptions(max_new_tokens=10, thinking=False)
    greedy = ReplyOptions(SamplingOptions(), 10, thinking=False)
    assert draw(NANO, free) == draw(NANO, greedy)
    assert draw(QWEN3_8, free) != draw(QWEN3_8, greedy)
    chosen = ReplyOptions(QWEN3_8.sampling(thinking=False), 10, thinking=False)
    assert draw(QWEN3_8, chosen) == draw(QWEN3_8, free)


def test_a_new_tool_list_is_told_to_the_model(talk: Talk) -> None:
    with_bash = end_of(talk.say(START, "a<|im_end|>")).usage.num_prompt
    without = end_of(talk.say(START, "a<|im_end|>", tools=())).usage.num_prompt
    assert without < with_bash
    assert end_of(talk.say(START, "a<|im_end|>")).usage.num_prompt == with_bash


# --- dropping old thinking -----------------------------------------------------------------------

THINKING = ReplyOptions()
THOUGHT = "Look at the list first.\n</think>\n\n"


def num_after_first_dropped(talk: Talk, messages: Sequence[Message]) -> int:
    """Count the tokens of a prompt after the first reply that lost its thinking with it."""
    prompt = talk.render(messages)
    asked = [n for n, message in enumerate(messages) if message.role == "user"]
    return len(prompt.tokens) - prompt.boundaries[asked[-2]]


@pytest.mark.slow
def test_dropped_thinking_costs_what_comes_after_it_and_no_more(tokenizer: Tokenizer) -> None:
    talk = Talk(tokenizer, QWEN3_5, window=2048, history="strip")
    messages = list(START)
    for turn in range(3):
        num_read = 0
        for step in range(3):
            usage = (end := end_of(talk.say(messages, THOUGHT + CALL, THINKING))).usage
            if step:
                assert usage.num_reused == num_read, "within a turn nothing is read twice"
            elif turn:
                assert 0 < usage.num_prefilled <= num_after_first_dropped(talk, messages)
                assert "Look at" not in tokenizer.decode(talk.render(messages).tokens)
            num_read = usage.num_prompt + usage.num_generated - 1
            messages += [end.message, Message("tool", f"file_{step}.py")]
        messages += [end_of(talk.say(messages, THOUGHT + "Done.<|im_end|>", THINKING)).message]
        messages += [Message("user", f"again {turn}")]


def test_dropped_thinking_costs_no_more_after_a_restart_in_the_middle_of_a_turn(
    tokenizer: Tokenizer,
) -> None:
    first = Talk(tokenizer, QWEN3_5, history="strip")
    messages = list(START)
    for n in range(2):
        end = end_of(first.say(messages, THOUGHT + CALL, THINKING))
        messages += [end.message, Message("tool", f"file_{n}.py")]
    talk = Talk(tokenizer, QWEN3_5, history="strip")
    end = end_of(talk.say(messages, THOUGHT + "Done.<|im_end|>", THINKING))
    messages += [end.message, Message("user", "again")]
    usage = end_of(talk.say(messages, THOUGHT + "Done.<|im_end|>", THINKING)).usage
    assert usage.num_prefilled <= num_after_first_dropped(talk, messages)
    assert usage.num_reused == talk.render(messages).boundaries[1]


@pytest.mark.slow
def test_dropping_thinking_gives_the_tokens_of_a_cold_run(tokenizer: Tokenizer) -> None:
    def replies(reuse: bool) -> tuple[list[tuple[int, ...]], int]:
        talk = Talk(tokenizer, QWEN3_5, history="strip", reuse=reuse)
        messages, out, num_prefilled = list(START), [], 0
        for n in range(9):
            options = ReplyOptions(max_new_tokens=len(talk.ids(THOUGHT)) + 12)
            end = end_of(talk.say(messages, THOUGHT, options))  # what follows is the model's own
            out.append(end.message.token_ids)
            num_prefilled += end.usage.num_prefilled
            messages += [end.message, Message("tool" if n % 3 else "user", f"result {n}")]
        return out, num_prefilled

    (warm, num_warm), (cold, num_cold) = replies(reuse=True), replies(reuse=False)
    assert warm == cold
    assert num_warm < num_cold / 2


# --- a budget of thinking -----------------------------------------------------------------------

MUSING = "So it goes and goes " * 3
HELD = ReplyOptions(thinking_budget=8)


@pytest.mark.parametrize("profile", [QWEN3_8, QWEN3], ids=lambda p: p.name)
def test_a_thought_over_its_budget_is_closed_and_the_reply_goes_on(
    profile: Profile, tokenizer: Tokenizer
) -> None:
    talk = Talk(tokenizer, profile, window=2048)
    messages, num_read = list(START), 0
    musing = MUSING if profile.opener_thinking else f"<think>\n{MUSING}"
    for turn in range(2):
        end = end_of(talk.say(messages, f"{musing}Now I act.<|im_end|>", HELD))
        ids = end.message.token_ids
        assert ids.count(tokenizer.control("</think>")) == 1
        closing = (
            *tokenizer.encode("\n"),
            tokenizer.control("</think>"),
            *tokenizer.encode("\n\n"),
        )
        assert tokenizer.decode(closing) in tokenizer.decode(ids)
        assert MUSING.startswith(end.message.thinking)
        assert end.message.content.endswith("Now I act.")
        assert 8 + 2 <= end.usage.num_thinking <= 8 + 2 + 1
        assert not end.is_thought_open
        assert end.usage.num_reused == num_read
        num_read = end.usage.num_prompt + end.usage.num_generated - 1
        messages += [end.message, Message("tool", f"file_{turn}.py")]


def test_a_budget_of_nothing_lets_no_thought_begin(talk: Talk) -> None:
    end = end_of(talk.say(START, f"{MUSING}Done.<|im_end|>", replace(HELD, thinking_budget=0)))
    assert end.message.thinking == ""
    assert end.message.content.endswith("Done.")


@pytest.mark.parametrize("profile", [NANO, QWEN2_5], ids=lambda p: p.name)
def test_a_model_that_cannot_think_has_no_budget(profile: Profile, tokenizer: Tokenizer) -> None:
    talk = Talk(tokenizer, profile)
    free, held = (talk.say(START, CALL, options) for options in (PLAIN, HELD))
    assert end_of(free).message == end_of(held).message
    assert end_of(held).usage.num_thinking == 0


@pytest.mark.parametrize(
    ("written", "thinking", "is_empty", "is_open"),
    [
        ("Hm, a list.\n</think>\n\n<|im_end|>", "Hm, a list.", True, False),
        ("<|im_end|>", "", True, True),
        (MUSING, MUSING, True, True),
        ("Hm.\n</think>\n\nYes.<|im_end|>", "Hm.", False, False),
        (f"Hm.\n</think>\n\n{CALL.removeprefix('Running.')}", "Hm.", False, False),
        ("Hm.\n</think>\n\n<tool_call>\nls\n</tool_call><|im_end|>", "Hm.", False, False),
    ],
)
def test_a_reply_that_only_thinks_is_seen_to_be_empty(
    written: str, thinking: str, is_empty: bool, is_open: bool, talk: Talk
) -> None:
    num_tokens = len(talk.ids(written))
    end = end_of(talk.say(START, written, ReplyOptions(max_new_tokens=num_tokens)))
    assert end.message.thinking == thinking.rstrip()
    assert (end.message.is_empty, end.is_thought_open) == (is_empty, is_open)
    assert end.stop_reason == ("end_turn" if "<|im_end|>" in written else "max_tokens")
    if thinking:
        assert end.usage.num_thinking == len(talk.ids(written.partition("</think>")[0]))


# --- opening ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tokenizer: Tokenizer, definition: str, tmp_path: Path) -> Path:
    tiny_module(tokenizer).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text(definition, encoding="utf-8")
    return tmp_path


def test_a_checkpoint_folder_opens_as_a_chat(folder: Path) -> None:
    (folder / "profile.json").write_text(json.dumps({"profile": "nano"}), encoding="utf-8")
    chat: ChatModel = open_chat(folder)
    assert chat.name == str(folder)
    assert chat.context_tokens == 1024
    pieces = list(chat.reply(START, (), ReplyOptions(max_new_tokens=3), lambda: False))
    assert end_of(pieces).usage.num_generated <= 3


def test_a_folder_without_a_tokenizer_is_refused_in_words(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "model.safetensors").unlink()  # it is not even looked for, and no host is started
    for host in (False, True):
        with pytest.raises(ModelUnavailable, match=r"tokenizer\.json cannot be read \(No such"):
            open_chat(folder, host=host)


@pytest.mark.parametrize("host", [False, True])
def test_a_tokenizer_of_another_model_is_refused_before_the_weights(
    folder: Path, host: bool
) -> None:
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 100}))
    with pytest.raises(ModelUnavailable, match=r"the model knows 100: it belongs to another"):
        open_chat(folder, host=host)


def test_a_vocabulary_without_the_familys_tags_still_chats(old_tokenizer: Tokenizer) -> None:
    assert not all(old_tokenizer.has_control(tag) for tag in TAGS)
    talk = Talk(old_tokenizer, QWEN2_5)
    assert end_of(talk.say(START, "Hello.<|im_end|>")).message.content == "Hello."


def test_what_was_given_up_to_load_is_said_once_and_the_window_that_was_asked_for_holds() -> None:
    nano = shape_of(read_json(NANO_FOLDER / "config.json"))
    found = plan("nano", nano, Room.of_cpu(8 * GIB, value_bytes=4))
    assert isinstance(found, Plan)
    offer = Offer(found, "It runs with a smaller window.")
    chat = open_chat("nano", window=1000, offer=offer)
    assert chat.context_tokens == 1000
    options = ReplyOptions(max_new_tokens=1, thinking=False)
    first, second = (
        end_of(list(chat.reply(START, (), options, lambda: False))).notices for _ in range(2)
    )
    assert first.count("It runs with a smaller window.") == 1
    assert "It runs with a smaller window." not in second
