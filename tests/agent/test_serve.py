"""`qwen-agent serve`: OpenAI's own client, with nano behind a real port."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from openai import APIStatusError, OpenAI
from pydantic import ValidationError

from agent.arguments import parse
from agent.errors import UsageError
from agent.frontends.serve.answer import StopWords
from agent.frontends.serve.app import make_app
from agent.frontends.serve.asked import ChatRequest, messages_of
from agent.frontends.serve.desk import Desk
from agent.frontends.serve.gate import Gate, host_of
from agent.frontends.serve.line import Replies, line_of
from agent.frontends.serve.service import Service
from agent.frontends.serve.start import run
from inference.errors import Cancelled
from inference.local import LocalChat, open_chat
from inference.messages import Message, ToolCall, ToolSpec, Usage

USER = {"role": "user", "content": "Repair it."}
TOOL = {
    "type": "function",
    "function": {
        "name": "run_tests",
        "description": "Run them.",
        "parameters": {"type": "object", "properties": {}},
    },
}


def seat() -> LocalChat:
    return open_chat("nano", host=True, idle_limit_s=1)


EDIT = {
    "type": "function",
    "function": {
        "name": "str_replace_editor",
        "parameters": {
            "type": "object",
            "properties": {
                name: {"type": "string"} for name in ("command", "path", "old_str", "new_str")
            },
        },
    },
}


def _with_properties(properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": "a", "parameters": parameters}}


@contextmanager
def serving(
    key: str, folder: Path, more: Callable[[], LocalChat]
) -> Iterator[tuple[str, list[Usage]]]:
    """Nano behind a port of this machine, with two seats."""
    costs: list[Usage] = []
    chat = more()
    service = Service(chat, Desk(chat, more, 2), folder)
    settings = uvicorn.Config(
        Gate(make_app(service, costs.append), key), log_level="error", lifespan="off"
    )
    server = uvicorn.Server(settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", costs
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[Usage]]]:
    folder = tmp_path_factory.mktemp("serve")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RUNTIME_DIR", "STATE_HOME", "CACHE_HOME"):
            patch.setenv(f"XDG_{name}", str(folder))
        with serving("", folder, seat) as there:
            yield there


@pytest.fixture
def client(served: tuple[str, list[Usage]]) -> OpenAI:
    return OpenAI(base_url=f"{served[0]}/v1", api_key="none", max_retries=0, timeout=60)


def ask(client: OpenAI, messages: list[Any], **more: Any) -> Any:
    options = {"model": "nano", "max_tokens": 24, "temperature": 0, **more}
    return client.chat.completions.create(messages=messages, **options)


# --- answers


def test_a_stream_tells_what_a_whole_answer_holds(client: OpenAI) -> None:
    whole = ask(client, [USER], tools=[TOOL])
    (choice,) = whole.choices
    assert choice.finish_reason == "tool_calls"
    deltas = [
        *ask(client, [USER], tools=[TOOL], stream=True, stream_options={"include_usage": True})
    ]
    calls = [
        call for one in deltas if one.choices for call in one.choices[0].delta.tool_calls or ()
    ]
    assert [call.function.name for call in calls] == [
        call.function.name for call in choice.message.tool_calls
    ]
    assert calls[0].function.arguments == choice.message.tool_calls[0].function.arguments
    assert deltas[-2].choices[0].finish_reason == "tool_calls"
    assert deltas[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert deltas[-1].usage.prompt_tokens_details.cached_tokens == whole.usage.prompt_tokens


def test_a_reply_that_is_told_again_is_not_read_again(client: OpenAI) -> None:
    """The client writes blanks and arguments in its own way, and loses the thought."""
    first = ask(client, [{"role": "system", "content": "Be brief."}, USER], tools=[TOOL])
    call = first.choices[0].message.tool_calls[0]
    arguments = json.dumps(json.loads(call.function.arguments), indent=3)
    told = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": arguments},
            }
        ],
    }
    result = {"role": "tool", "tool_call_id": call.id, "content": "1 failed"}
    messages = [{"role": "system", "content": "Be brief."}, USER, told, result]
    second = ask(client, messages, tools=[TOOL])
    read = first.usage.prompt_tokens + first.usage.completion_tokens
    assert second.usage.prompt_tokens_details.cached_tokens >= read - 1


def test_choices_share_one_prompt(served: tuple[str, list[Usage]], client: OpenAI) -> None:
    messages = [{"role": "user", "content": "Choose: " + "word " * 80}]
    drawn = {"temperature": 2, "seed": 5, "max_tokens": 9}
    served[1].clear()
    whole = ask(client, messages, n=3, **drawn)
    read = [usage.num_prefilled for usage in served[1]]
    assert sorted(read)[:2] == [0, 0], "what the first has read is there for the others"
    assert max(read) > 80
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    texts = [choice.message.content for choice in whole.choices]
    assert len(set(texts)) > 1, "each is drawn by itself"
    assert whole.usage.prompt_tokens == served[1][0].num_prompt
    assert whole.usage.completion_tokens == sum(usage.num_generated for usage in served[1])
    alone = ask(client, messages, **{**drawn, "seed": 6})
    assert alone.choices[0].message.content == texts[1]
    streamed = ["", "", ""]
    ended = set()
    for one in ask(client, messages, n=3, stream=True, **drawn):
        choice = one.choices[0]
        streamed[choice.index] += choice.delta.content or ""
        if choice.finish_reason:
            ended.add(choice.index)
    assert streamed == texts
    assert ended == {0, 1, 2}


def test_a_conversation_between_two_others_loses_nothing(client: OpenAI) -> None:
    def line(number: int) -> list[Any]:
        return [{"role": "user", "content": f"Task {number}: " + "word " * 100}]

    before = [ask(client, line(number)).usage.prompt_tokens for number in range(3)]
    for number in range(3):
        usage = ask(client, line(number)).usage
        assert usage.prompt_tokens == before[number]
        assert usage.prompt_tokens_details.cached_tokens == before[number]


def test_a_client_that_hangs_up_ends_its_reply(
    served: tuple[str, list[Usage]], client: OpenAI
) -> None:
    stream = ask(client, [USER], stream=True, max_tokens=4000)
    next(iter(stream))
    stream.close()
    assert ask(client, [{"role": "user", "content": "Another."}]).usage.completion_tokens > 0


def test_an_answer_ends_before_a_stop_word(client: OpenAI) -> None:
    whole = ask(client, [USER]).choices[0].message.content
    assert len(whole) > 12, "nano says something, whatever it is"
    cut = ask(client, [USER], stop=[whole[5:9]]).choices[0]
    assert cut.message.content == whole[: whole.index(whole[5:9])]
    assert cut.finish_reason == "stop"


def test_a_call_that_was_cut_off_is_told_as_it_was_written(client: OpenAI) -> None:
    """Closed by us it would be taken for whole, and carried out."""
    (choice,) = ask(client, [USER], max_tokens=12, tools=None, stream=None).choices
    assert choice.finish_reason == "length"
    assert choice.message.content.startswith("<tool_call>")
    assert "</tool_call>" not in choice.message.content


def test_signs_of_life_come_while_a_call_is_written(client: OpenAI) -> None:
    deltas = [
        one.choices[0].delta
        for one in ask(client, [USER], tools=[EDIT], stream=True, max_tokens=400)
    ]
    assert any(delta.content == "" and delta.role is None for delta in deltas)


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"model": "gpt"}, 404, "the one here is 'nano'"),
        ({"tool_choice": "required"}, 400, "a call cannot be forced"),
        ({"response_format": {"type": "json_object"}}, 400, "text only"),
        ({"n": 17}, 400, "n: Input should be less than or equal to 16"),
        ({"messages": []}, 400, "messages"),
        ({"temperature": 3}, 400, "temperature"),
        ({"tools": [_with_properties({"a": 5})]}, 400, "tools.0.function.parameters.properties.a"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, 400, "content.list"),
        ({"messages": [{"role": "user", "content": "x" * 3_000_000}]}, 400, "bytes long"),
        ({"messages": [{"role": "user", "content": "word " * 5000}]}, 400, "window of nano"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}],
                    }
                ]
            },
            400,
            "sees no pictures",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    client: OpenAI, change: dict[str, Any], status: int, words: str
) -> None:
    with pytest.raises(APIStatusError) as refused:
        ask(client, **{"messages": [USER], **change})
    assert refused.value.status_code == status
    assert words in str(refused.value.body)


def post(address: str, body: bytes, **headers: str) -> tuple[int, str]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    place = address.removeprefix("http://")
    with closing(http.client.HTTPConnection(place, timeout=60)) as connection:
        connection.request("POST", "/v1/chat/completions", body, sent)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_the_models_are_listed_with_a_slash_too(client: OpenAI) -> None:
    listed = client.get("/models/", cast_to=dict[str, Any])
    assert [one["id"] for one in listed["data"]] == ["nano"]


def test_pages_of_a_browser_get_nothing(served: tuple[str, list[Usage]]) -> None:
    body = json.dumps({"model": "nano", "messages": [USER], "max_tokens": 1}).encode()
    json_type = "application/json"
    assert post(served[0], body, Content_Type=json_type)[0] == 200
    assert post(served[0], body, Content_Type="text/plain")[0] == 415
    assert post(served[0], body, Content_Type=json_type, Host="evil.example")[0] == 403
    status, said = post(served[0], b"{", Content_Type=json_type)
    assert status == 400
    assert "error" in json.loads(said)


def test_a_key_is_asked_for_where_there_is_one(tmp_path: Path) -> None:
    with serving("secret", tmp_path, lambda: open_chat("nano")) as (address, _):
        stranger = OpenAI(base_url=f"{address}/v1", api_key="guess", max_retries=0)
        with pytest.raises(APIStatusError, match="the key is missing or wrong"):
            stranger.models.list()
        friend = OpenAI(base_url=f"{address}/v1", api_key="secret", max_retries=0)
        assert [model.id for model in friend.models.list()] == ["nano"]


def test_off_this_machine_nobody_is_served_without_a_key() -> None:
    with pytest.raises(UsageError, match="QWEN_AGENT_SERVE_KEY"):
        run(parse(["serve", "--host", "0.0.0.0", "--model", "nano"]), {})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(UsageError, match="choose another with --port"):
            run(parse(["serve", "--port", port, "--model", "nano"]), {})


# --- words


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_stop_words_are_found_across_pieces(size: int) -> None:
    def told(text: str, *words: str) -> str:
        stop = StopWords(words)
        pieces = [stop.feed(text[at : at + size]) for at in range(0, len(text), size)]
        return "".join([*pieces, stop.rest()])

    assert told("one two three", "two") == "one "
    assert told("one two three", "tree", "e t") == "on"
    assert told("ends with th", "three") == "ends with th"
    assert told("no words") == "no words"


def test_results_stand_in_the_order_of_their_calls() -> None:
    call = {"type": "function", "function": {"name": "a", "arguments": '{"x": 1}'}}
    said = [
        {"role": "developer", "content": "One."},
        {"role": "system", "content": [{"type": "text", "text": "Two."}]},
        USER,
        {"role": "assistant", "tool_calls": [{"id": "1", **call}, {"id": "2", **call}]},
        {"role": "tool", "tool_call_id": "2", "content": "second"},
        {"role": "tool", "tool_call_id": "1", "content": "first"},
        {"role": "system", "content": "Late."},
    ]
    request = ChatRequest.model_validate({"model": "m", "messages": said})
    messages = messages_of(request, lambda url: pytest.fail(url))
    assert [(one.role, one.content) for one in messages] == [
        ("system", "One.\n\nTwo."),
        ("user", "Repair it."),
        ("assistant", ""),
        ("tool", "first"),
        ("tool", "second"),
        ("user", "Late."),
    ]
    assert messages[2].tool_calls == (ToolCall("a", {"x": 1}), ToolCall("a", {"x": 1}))


def test_pictures_are_of_a_user_only() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    with pytest.raises(ValidationError, match="only a user message"):
        ChatRequest.model_validate(
            {"model": "m", "messages": [{"role": "system", "content": [picture]}]}
        )


def test_a_line_is_known_by_what_was_said_and_not_by_how() -> None:
    tools = (ToolSpec("a", "", {"type": "object"}),)
    asked = (Message("system", "s"), Message("user", "u"))
    reply = Message("assistant", "Yes.\n", "thought", (ToolCall("a", {"x": 1, "y": 2}),), (7, 8))
    told = Message("assistant", "Yes.", tool_calls=(ToolCall("a", {"y": 2, "x": 1}),))
    line = line_of([*asked, told], tools)
    assert line == line_of([*asked, reply], tools)
    assert line != line_of([*asked, reply], ())
    replies = Replies(max_tokens=3)
    replies.remember(line, reply)
    assert replies.restored([*asked, told], line)[-1].token_ids == (7, 8)
    other = line_of([asked[0], Message("user", "v"), told], tools)
    replies.remember(other, reply)
    assert replies.restored([*asked, told], line)[-1] == told, "the oldest is forgotten"


def test_a_seat_is_kept_for_the_conversation_that_it_has_read() -> None:
    opened: list[LocalChat] = []

    def more() -> LocalChat:
        opened.append(open_chat("nano"))
        return opened[-1]

    desk = Desk(open_chat("nano"), more, 2)
    lines = [(bytes([n]),) for n in range(3)]
    with desk.seat(lines[0], lambda: False) as first:
        first.line = lines[0]
    with desk.seat(lines[1], lambda: False) as second:
        second.line = lines[1]
        assert second is not first
        with desk.seat((*lines[0], b"more"), lambda: False) as again:
            assert again is first
            with pytest.raises(Cancelled), desk.seat(lines[2], lambda: True):
                pass
    with desk.seat(lines[2], lambda: False) as third:
        assert third is first, "the one that was left first"
    assert len(opened) == 1


def test_the_name_in_a_host_header() -> None:
    headers = ["localhost:80", "[::1]:80", "127.0.0.1", "LOCALHOST", "evil.example:8642", ""]
    names = ["localhost", "::1", "127.0.0.1", "localhost", "evil.example", ""]
    headers += ["[::1]evil.example", "evil.example@localhost", "localhost:evil"]
    names += ["", "", ""]
    assert [*map(host_of, headers)] == names


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_replies_where_they_are_and_leaves_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    names = ("RUNTIME_DIR", "STATE_HOME", "CACHE_HOME")
    environment = {**os.environ, **{f"XDG_{name}": str(tmp_path) for name in names}}
    with subprocess.Popen(
        [sys.executable, "-m", "agent.cli", "serve", "--model", "nano", "--port", "0"],
        env={**environment, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = re.search(r"http://\S+/v1", process.stdout.readline())
        assert address is not None
        client = OpenAI(base_url=address[0], api_key="x", max_retries=0, timeout=60)
        stream = iter(ask(client, [USER], stream=True, max_tokens=4000))
        next(stream)
        process.send_signal(number)
        assert [*stream][-1].choices[0].finish_reason == "stop"
        assert process.wait(60) == 0
        assert "Traceback" not in process.stderr.read()
    assert not [*tmp_path.glob("qwen-agent-serve-*")]
