"""A model behind a server that speaks the API: what is sent, what is read, what goes wrong."""

import json
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from inference import remote
from inference.errors import (
    Cancelled,
    ContextOverflow,
    EngineGone,
    InferenceError,
    ModelUnavailable,
    NoSuchModel,
)
from inference.messages import (
    BadToolCall,
    Message,
    Piece,
    Prefill,
    ReplyEnd,
    ReplyOptions,
    Text,
    Thinking,
    ToolCall,
    ToolSpec,
    WritingCall,
)
from inference.pictures import read_picture
from inference.remote import RemoteChat, open_remote
from inference.remote_server import ServerSettings, base_url
from sandbox.base import never
from tests.inference.scripted_server import Answer, Script, call, delta, says, serving, usage

KEY = "sk-secret-1234"
PROMPT = (Message("system", "You mend.", sections=("a.py", "b.py")), Message("user", "Go on."))
TOOLS = (
    ToolSpec(
        "view",
        "Look at a file.",
        {"type": "object", "properties": {"path": {"type": "string"}, "line": {"type": "integer"}}},
    ),
)
CALL = "<tool_call>\n<function=view>\n<parameter=path>\n  a.py\n</parameter>\n</function>\n"
CALL += "</tool_call>"


@pytest.fixture(autouse=True)
def _nothing_is_left_open(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record for record in caplog.records if record.name == "asyncio"] == []


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QWEN_AGENT_ENGINE_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def script() -> Iterator[Script]:
    with serving(Script([says("Hello", " there.")])) as served:
        yield served


def chat_of(script: Script, **settings: object) -> RemoteChat:
    known = ServerSettings(script.url, first_wait_s=0.001)
    return open_remote(replace(known, **settings))  # type: ignore[arg-type]


def pieces_of(
    chat: RemoteChat, options: ReplyOptions | None = None, messages: tuple[Message, ...] = PROMPT
) -> list[Piece]:
    return list(chat.reply(messages, TOOLS, options or ReplyOptions(), never))


def end_of(chat: RemoteChat, options: ReplyOptions | None = None) -> ReplyEnd:
    end = pieces_of(chat, options)[-1]
    assert isinstance(end, ReplyEnd)
    return end


def fault_of(chat: RemoteChat) -> InferenceError:
    with pytest.raises(InferenceError) as caught:
        pieces_of(chat)
    return caught.value


# --- what is read --------------------------------------------------------------------------------


def test_text_streams_and_the_end_says_what_it_cost(script: Script) -> None:
    script.answers = [says("Hello", " there.", prompt_tokens_details={"cached_tokens": 64})]
    pieces = pieces_of(chat_of(script))
    assert [piece.text for piece in pieces if isinstance(piece, Text)] == ["Hello", " there."]
    end = pieces[-1]
    assert isinstance(end, ReplyEnd)
    assert end.message == Message("assistant", "Hello there.")
    assert (end.usage.num_prompt, end.usage.num_reused, end.usage.num_prefilled) == (100, 64, 36)
    assert end.usage.num_generated == 7
    assert [type(piece) for piece in pieces[:2]] == [Prefill, Prefill]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_a_thought_comes_in_the_field_that_a_server_has_for_it(script: Script, field: str) -> None:
    thought = [delta(**{field: part}) for part in ("\n\n", "I look", " at it.")]
    script.answers = [Answer([*thought, delta(content="Done."), delta("stop"), usage()])]
    message = end_of(chat_of(script)).message
    assert (message.thinking, message.content) == ("I look at it.", "Done.")


def test_a_thought_inside_the_text_is_told_by_its_tags(script: Script) -> None:
    script.answers = [says("<thi", "nk>\nI see </th", "ink>\n\nUse `<think>` so: <b>.")]
    message = end_of(chat_of(script)).message
    assert (message.thinking, message.content) == ("I see", "Use `<think>` so: <b>.")


def test_a_thought_that_nobody_saw_begin_is_none_of_the_answer(script: Script) -> None:
    script.answers = [says("I see.\n</think>\n\nDone."), says("Once more</think>", "Done.")]
    chat = chat_of(script)
    first = end_of(chat).message
    assert (first.thinking, first.content) == ("I see.", "Done.")
    pieces = pieces_of(chat)
    assert [piece for piece in pieces if isinstance(piece, Text | Thinking)] == [
        Thinking("Once more"),
        Text("Done."),
    ]


def test_calls_come_in_parts_and_values_are_typed(script: Script) -> None:
    long = json.dumps({"path": "x" * 100})
    parts = [
        call(0, "view", "", "a"),
        call(0, None, '{"path": "a.py",'),
        call(0, None, ' "line": "7"}'),
        call(1, "view", long[:80], "b"),
        call(1, None, long[80:]),
    ]
    script.answers = [
        Answer([*(delta(tool_calls=[part]) for part in parts), delta("tool_calls"), usage()])
    ]
    pieces = pieces_of(chat_of(script))
    assert [piece for piece in pieces if isinstance(piece, ToolCall)] == [
        ToolCall("view", {"path": "a.py", "line": 7}),
        ToolCall("view", {"path": "x" * 100}),
    ]
    assert WritingCall("view", 80) in pieces


def test_calls_that_share_a_number_are_told_apart_by_their_names(script: Script) -> None:
    parts = [call(0, "view", '{"path": "a"}', "a"), call(0, "view", '{"path": "b"}', "b")]
    script.answers = [Answer([delta(tool_calls=parts), delta("tool_calls"), usage()])]
    calls = end_of(chat_of(script)).message.tool_calls
    assert [one.arguments["path"] for one in calls if isinstance(one, ToolCall)] == ["a", "b"]


def test_a_call_that_no_server_took_apart_is_read_by_our_parser(script: Script) -> None:
    script.answers = [says("I look.\n\n", *CALL)]
    message = end_of(chat_of(script)).message
    assert message.content == "I look."
    assert message.tool_calls == (ToolCall("view", {"path": "  a.py"}),)


def test_a_call_with_broken_arguments_is_one_that_the_model_is_told_of(script: Script) -> None:
    parts = [call(0, "view", '{"path": oops', "a"), call(1, "view", '{"line": "x"}', "b")]
    script.answers = [Answer([delta(tool_calls=parts), delta("tool_calls"), usage()])]
    broken, mistyped = end_of(chat_of(script)).message.tool_calls
    assert isinstance(broken, BadToolCall)
    assert "arguments of view is not valid JSON" in broken.reason
    assert isinstance(mistyped, BadToolCall)
    assert "must be an integer" in mistyped.reason


@pytest.mark.parametrize(("finish", "limit"), [("length", 99), ("tool_calls", 7)])
def test_a_call_that_was_cut_off_is_not_carried_out(
    script: Script, finish: str, limit: int
) -> None:
    part = call(0, "view", '{"path": "a.py"}', "a")
    script.answers = [Answer([delta(tool_calls=[part]), delta(finish), usage()])]
    end = end_of(chat_of(script), ReplyOptions(max_new_tokens=limit))
    assert end.stop_reason == "max_tokens"
    (read,) = end.message.tool_calls
    assert isinstance(read, BadToolCall)
    assert "cut off" in read.reason
    assert read.cut_at == end.usage.num_generated


def test_a_thought_over_its_budget_is_cut_and_the_server_is_left(script: Script) -> None:
    thought = [delta(reasoning="so " * 50)] * 40
    script.answers = [Answer([*thought, delta(content="never read")], pauses=[0, 0, 0, 0.05, 600])]
    end = end_of(chat_of(script), ReplyOptions(thinking_budget=90))
    assert end.is_thought_open
    assert end.message.is_empty
    assert end.stop_reason == "max_tokens"
    assert script.left.wait(60)


# --- what is sent --------------------------------------------------------------------------------


def test_a_longer_conversation_begins_with_the_shorter_one(script: Script) -> None:
    part = call(0, "view", '{"path": "a"}', "a")
    script.answers = [
        Answer([delta(reasoning="Hm."), delta(tool_calls=[part]), delta("tool_calls"), usage()]),
        says("Done."),
    ]
    chat = chat_of(script)
    reply = end_of(chat).message
    bad = Message("assistant", "", tool_calls=(BadToolCall("<function=>", "It names none."),))
    pieces_of(
        chat,
        messages=(*PROMPT, reply, Message("tool", "1 x"), bad, Message("tool", "It names none.")),
    )
    shorter, longer = (request["messages"] for request in script.requests)
    assert longer[: len(shorter)] == shorter
    assert shorter[0] == {"role": "system", "content": "You mend.\n\na.pyb.py"}
    called, result, unread, told = longer[len(shorter) :]
    assert called["reasoning_content"] == "Hm."
    assert called["tool_calls"][0]["id"] == result["tool_call_id"]
    assert json.loads(called["tool_calls"][0]["function"]["arguments"]) == {"path": "a"}
    assert unread == {"role": "assistant", "content": "<tool_call><function=></tool_call>"}
    assert told["role"] == "tool"
    assert script.requests[0]["tools"][0]["function"]["name"] == "view"


def test_the_family_is_known_by_its_name_and_asked_as_it_likes(script: Script) -> None:
    pieces_of(chat_of(script), ReplyOptions(thinking=False, seed=3))
    asked = script.requests[0]
    assert (asked["temperature"], asked["top_p"], asked["top_k"], asked["seed"]) == (
        0.7,
        0.8,
        20,
        3,
    )
    assert asked["chat_template_kwargs"] == {"enable_thinking": False, "preserve_thinking": True}
    script.models = [{"id": "qwen3.8-27b", "max_model_len": 8192}]
    pieces_of(chat_of(script))
    assert script.requests[1]["chat_template_kwargs"]["reasoning_effort"] == "medium"
    script.models = [{"id": "other", "max_model_len": 8192}]
    pieces_of(chat_of(script))
    assert "temperature" not in script.requests[2]


def test_what_a_server_refuses_is_left_out_from_then_on_and_told_once(script: Script) -> None:
    refused = ("top_k", "seed", "top_p", "stream_options", "chat_template_kwargs")
    words = [
        json.dumps({"detail": f"Unexpected fields in the request: {{'{name}'}}"})
        for name in refused
    ]
    busy = Answer(status=503)
    script.answers = [
        *(Answer(status=422, body=body) for body in words),
        *[busy] * (remote.MAX_TRIES - 1),
        says("Done."),
    ]
    chat = chat_of(script)
    told = [*end_of(chat).notices, *end_of(chat).notices]
    assert sum("does not know top_k" in notice for notice in told) == 1
    assert ["top_k" in request for request in script.requests[:3]] == [True, False, False]
    assert not set(refused) & set(script.requests[-1])


def test_a_picture_goes_with_the_request(script: Script, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 64), "red").save(tmp_path / "a.png")
    shown = Message("user", "What is it?", pictures=(read_picture(tmp_path / "a.png"),))
    assert not chat_of(script).can_see
    chat = chat_of(script, can_see=True)
    assert chat.can_see
    pieces_of(chat, messages=(PROMPT[0], shown))
    picture, text = script.requests[0]["messages"][1]["content"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert text == {"type": "text", "text": "What is it?"}


# --- what the server says of itself --------------------------------------------------------------


def test_the_window_is_the_servers_or_the_settings(script: Script) -> None:
    assert chat_of(script).context_tokens == 8192
    assert chat_of(script, context_tokens=4096).context_tokens == 4096
    script.models = [{"id": "gguf"}]
    script.pages = {"/props": json.dumps({"default_generation_settings": {"n_ctx": 2048}})}
    assert chat_of(script).context_tokens == 2048
    script.pages = {}
    assert chat_of(script, context_tokens=4096).context_tokens == 4096
    chat = chat_of(script)
    assert chat.context_tokens == 32_768
    assert any("does not say how long its window is" in notice for notice in end_of(chat).notices)


def test_tokens_are_counted_by_the_server_or_estimated_and_that_is_said(script: Script) -> None:
    script.counts = True
    chat = chat_of(script)
    assert chat.count_tokens("three short words") == 3
    assert not any("estimated" in notice for notice in end_of(chat).notices)
    script.counts = False
    chat = chat_of(script)
    assert chat.count_tokens("1234 abc") == 4 + 2
    assert any("estimated" in notice for notice in end_of(chat).notices)


def test_a_server_that_never_speaks_of_reuse_is_named_once(script: Script) -> None:
    chat = chat_of(script)
    told = [notice for _ in range(4) for notice in end_of(chat).notices]
    assert sum("does not say what it reuses" in notice for notice in told) == 1


def test_one_model_is_taken_and_of_several_one_has_to_be_named(script: Script) -> None:
    script.models = [{"id": "a"}, {"id": "b"}]
    with pytest.raises(NoSuchModel, match="choose one with --model: a, b") as caught:
        chat_of(script)
    assert caught.value.exit_code == 2
    assert open_remote(ServerSettings(script.url), "b").name == "b"
    script.models = []
    with pytest.raises(NoSuchModel, match="lists no model"):
        chat_of(script)


@pytest.mark.parametrize(
    ("typed", "base"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("https://gpu.lan/api/v1/", "https://gpu.lan/api/v1"),
        ("localhost:8000", None),
        ("http://user:pass@gpu.lan", None),
        ("http://gpu.lan/v1?key=1", None),
        ("http://localhost:99999/v1", None),
        ("http://localhost:0", None),
        ("http://[::1/v1", None),
    ],
)
def test_an_address_is_a_base_and_holds_no_key(typed: str, base: str | None) -> None:
    if base is not None:
        assert base_url(typed) == base
        return
    with pytest.raises(ValueError, match="address"):
        base_url(typed)


# --- what goes wrong -----------------------------------------------------------------------------


def test_what_passes_is_tried_again(script: Script) -> None:
    busy = Answer(status=503, body='{"error": {"message": "Loading model"}}')
    script.answers = [busy, Answer(status=500, body="<html>"), Answer(status=429), says("Done.")]
    assert end_of(chat_of(script)).message.content == "Done."
    assert len(script.requests) == 4


def test_what_does_not_pass_is_one_sentence(script: Script) -> None:
    script.answers = [Answer(status=500, body='{"error": {"message": "out of memory"}}')]
    error = fault_of(chat_of(script))
    assert isinstance(error, ModelUnavailable)
    assert str(error) == f"{script.url} answers with 500: out of memory"
    assert len(script.requests) == remote.MAX_TRIES


def test_a_stream_that_breaks_before_its_first_word_is_asked_for_again(script: Script) -> None:
    script.answers = [Answer([delta(role="assistant")], is_cut=True), says("Done.")]
    assert end_of(chat_of(script)).message.content == "Done."


def test_a_stream_that_breaks_after_a_word_is_never_repeated_by_itself(script: Script) -> None:
    script.answers = [Answer([delta(content="Half")], is_cut=True), says("Whole.")]
    chat = chat_of(script)
    error = fault_of(chat)
    assert isinstance(error, EngineGone)
    assert str(error).startswith("The reply broke off.")
    assert len(script.requests) == 1
    assert end_of(chat).message.content == "Whole.", "the same can be asked again"


def test_a_stream_that_ends_too_soon_is_not_taken_for_a_reply(script: Script) -> None:
    script.answers = [Answer([delta(content="Half")])]
    assert isinstance(fault_of(chat_of(script)), EngineGone)


def test_what_odd_servers_send_is_read_as_far_as_it_can_be(script: Script) -> None:
    odd = {**delta("stop"), "choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]}
    script.answers = [Answer([delta(content="a \ud83d b"), odd, usage(completion_tokens="many")])]
    end = end_of(chat_of(script))
    assert end.message.content == "a ? b"
    assert end.stop_reason == "end_turn"
    assert end.usage.num_generated > 0


def test_the_first_word_may_take_longer_than_the_next(script: Script) -> None:
    whole = [json.dumps(delta(content="ab")), json.dumps(delta("stop")), "[DONE]"]
    at_once = "\n\n".join(f"data: {data}" for data in whole)
    script.answers = [Answer([delta(role="assistant"), at_once], pauses=[0, 0.4])]
    assert end_of(chat_of(script, between_tokens_s=0.2)).message.content == "ab"


def test_a_word_that_never_comes_is_told_with_how_long_it_may_take(script: Script) -> None:
    script.answers = [Answer([delta(content="a"), delta(content="b")], pauses=[0, 600])]
    error = fault_of(chat_of(script, between_tokens_s=0.2))
    assert isinstance(error, EngineGone)
    assert "[engine] between_tokens_s" in str(error)


def test_a_first_word_that_never_comes_is_not_waited_for_twice(script: Script) -> None:
    script.answers = [Answer([delta(role="assistant"), delta(content="a")], pauses=[0, 600])]
    error = fault_of(chat_of(script, first_token_s=0.2))
    assert "[engine] first_token_s" in str(error)
    assert len(script.requests) <= 1, "none where this machine took longer to ask"


def test_a_reply_is_left_at_once_wherever_it_is(script: Script) -> None:
    script.answers = [Answer([delta(content="a"), delta(content="b")], pauses=[0, 600])]
    chat, seen = chat_of(script), list[Piece]()
    for piece in chat.reply(PROMPT, TOOLS, ReplyOptions(), lambda: len(seen) > 2):
        seen.append(piece)
    end = seen[-1]
    assert isinstance(end, ReplyEnd)
    assert (end.stop_reason, end.message.content) == ("cancelled", "a")
    assert script.left.wait(60), "the server knows that nobody waits"


def test_nobody_waits_for_another_try_that_is_not_wanted(script: Script) -> None:
    script.answers = [Answer(status=503, headers={"Retry-After": "50"})]
    looks: list[bool] = []

    def cancel() -> bool:
        looks.append(bool(script.requests))
        return sum(looks) > 8  # a while after it was asked

    with suppress(Cancelled):
        list(chat_of(script).reply(PROMPT, TOOLS, ReplyOptions(), cancel))
    assert len(script.requests) == 1


def test_a_window_that_is_full_is_told_apart_from_other_refusals(script: Script) -> None:
    words = "This model's maximum context length is 8192 tokens. However, you requested 9000."
    script.answers = [Answer(status=400, body=json.dumps({"error": {"message": words}}))]
    assert isinstance(fault_of(chat_of(script)), ContextOverflow)
    with pytest.raises(ContextOverflow):
        pieces_of(chat_of(script), messages=(*PROMPT[:1], Message("user", "x" * 40_000)))
    assert len(script.requests) == 1, "what cannot fit is not sent"


def test_a_model_that_is_not_there_is_named(script: Script) -> None:
    words = json.dumps({"error": {"message": "The model `b` does not exist."}})
    script.answers = [Answer(status=404, body=words)]
    error = fault_of(open_remote(ServerSettings(script.url), "b"))
    assert isinstance(error, NoSuchModel)
    assert "`b` does not exist" in str(error)


@pytest.mark.parametrize(
    "answer",
    [Answer(body="<html>Welcome</html>"), Answer(["data: {oops"]), Answer(["data: [1]"])],
    ids=["a page", "no JSON", "another thing"],
)
def test_what_is_no_reply_is_an_error_in_one_sentence(script: Script, answer: Answer) -> None:
    script.answers = [answer]
    assert isinstance(fault_of(chat_of(script)), ModelUnavailable)


def test_a_page_is_not_asked_for_again(script: Script) -> None:
    headers = {"Content-Type": "text/html; charset=utf-8"}
    script.answers = [Answer(body="<html>Welcome</html>", headers=headers)]
    assert "not as OpenAI's API does" in str(fault_of(chat_of(script)))
    assert len(script.requests) == 1


def test_an_error_inside_the_stream_is_told_in_its_words(script: Script) -> None:
    script.answers = [Answer([{"error": {"message": "CUDA error"}}])]
    assert "CUDA error" in str(fault_of(chat_of(script)))


def test_a_key_comes_from_the_environment_and_is_in_no_sentence(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.key = KEY
    with pytest.raises(ModelUnavailable, match="wants a key; QWEN_AGENT_ENGINE_KEY"):
        chat_of(script)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    with pytest.raises(ModelUnavailable, match="refuses the key") as caught:
        chat_of(script)
    assert "sk-other" not in str(caught.value)
    monkeypatch.setenv("QWEN_AGENT_ENGINE_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-7")
    end_of(chat_of(script))
    sent = {name.lower(): value for name, value in script.headers[0].items()}
    assert sent["authorization"] == f"Bearer {KEY}"
    assert "openai-organization" not in sent


def test_nobody_at_the_address_is_one_sentence(script: Script) -> None:
    chat = chat_of(script)
    with pytest.raises(ModelUnavailable, match=r"No server answers at http://127\.0\.0\.1:9/v1"):
        open_remote(ServerSettings("http://127.0.0.1:9/v1"))
    with pytest.raises(ModelUnavailable, match="speaks no TLS"):
        open_remote(ServerSettings(script.url.replace("http:", "https:")))
    script.models = "none"
    with pytest.raises(ModelUnavailable, match="no list of models"):
        chat_of(script)
    assert open_remote(ServerSettings(script.url), "named").name == "named"
    assert end_of(chat).message.content == "Hello there."


def test_a_certificate_is_checked_and_its_issuer_can_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = tmp_path / "server.pem"
    certificate.write_bytes(self_signed("127.0.0.1"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with serving(Script([says("Hello.")]), tls) as script:
        with pytest.raises(ModelUnavailable, match=r"certificate of .* is not trusted"):
            chat_of(script)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert end_of(chat_of(script)).message.content == "Hello."


def self_signed(address: str) -> bytes:
    """Make a key and a certificate for it, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    now, day = datetime.now(UTC), timedelta(days=1)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain, form = serialization.NoEncryption(), serialization.PrivateFormat.PKCS8
    pem = serialization.Encoding.PEM
    return key.private_bytes(pem, form, plain) + certificate.public_bytes(pem)
