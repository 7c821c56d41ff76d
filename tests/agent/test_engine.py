"""A server in the place of the engine inside: who may name it, and a repair by its model."""

import io
import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import doctor
from agent.arguments import parse
from agent.cli import answer
from agent.config import REPOSITORY_FILE, load_config, narrow
from agent.engine import with_engine
from agent.errors import ConfigError, UsageError
from agent.events import Event, Notice
from agent.fix import run_fix
from agent.frontends.asked import request_of
from agent.frontends.repl.first_run import _kept, needs_choice
from agent.frontends.talk import request_of as talk_request_of
from agent.outcome import FIXED, USAGE, FixOutcome
from agent.request import FixRequest
from agent.settings import Config, EngineConfig, VerifyConfig
from agent.talk_request import TalkRequest
from inference.errors import ModelUnavailable
from inference.messages import ToolCall
from inference.remote_server import ServedModel
from tests.agent.fakes import FINISH, REPAIR, RUN_TESTS, Say, bash, make_repository
from tests.inference.scripted_server import Answer, Script, call, delta, says, serving, usage

KEY = "sk-of-a-person"
URL = "http://gpu.lan:8000/v1"


@pytest.fixture
def script() -> Iterator[Script]:
    with serving(Script([says("Hello.")])) as served:
        yield served


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE", "CONFIG", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("QWEN_AGENT_ENGINE_KEY", KEY)


def apart(say: Say) -> Answer:
    """Answer as a server that takes replies apart."""
    parts = [
        call(n, one.name, json.dumps(dict(one.arguments)), f"id{n}")
        for n, one in enumerate(say.calls)
        if isinstance(one, ToolCall)
    ]
    cached = usage(prompt_tokens_details={"cached_tokens": 90})
    return Answer([delta(content=say.text), delta(tool_calls=parts), delta("tool_calls"), cached])


def as_written(say: Say) -> Answer:
    """Answer as a server that hands on what the model wrote."""
    (one,) = (one for one in say.calls if isinstance(one, ToolCall))
    values = (f"<parameter={k}>\n{v}\n</parameter>\n" for k, v in one.arguments.items())
    body = f"<tool_call>\n<function={one.name}>\n{''.join(values)}</function>\n</tool_call>"
    return says(say.text, *body)


def end_of(request: FixRequest, state: Path) -> tuple[list[Event], FixOutcome]:
    events, run = list[Event](), run_fix(request, state=state)
    while True:
        try:
            events.append(next(run))
        except StopIteration as stop:
            return events, stop.value


def test_a_repair_goes_through_faults_and_no_command_sees_the_key(
    script: Script, tmp_path: Path
) -> None:
    cut = Answer([delta(content="I begin")], is_cut=True)
    broken = Answer(
        [delta(tool_calls=[call(0, "run_tests", "{oops")]), delta("tool_calls"), usage()]
    )
    script.key = KEY
    script.answers = [
        Answer(status=500, body="oops"),
        apart(bash("env; cat /proc/self/environ")),
        cut,
        broken,
        as_written(RUN_TESTS),
        as_written(REPAIR),
        apart(FINISH),
    ]
    repository = make_repository(tmp_path / "work")
    config = with_engine(Config(verify=VerifyConfig(tests=False, finish_tests=False)), script.url)
    events, outcome = end_of(FixRequest(repository, config=config), tmp_path / "state")
    assert outcome.exit_code == FIXED, outcome.sentence
    assert outcome.model == "qwen3.5-tiny"
    assert outcome.usages[-1].num_reused == 90
    told = [event.text for event in events if isinstance(event, Notice)]
    assert sum("The reply broke off." in words for words in told) == 1
    said = [message["content"] for message in script.requests[-1]["messages"]]
    assert any("PATH=" in words for words in said), "a command has shown its variables"
    assert any("arguments of run_tests is not valid JSON" in words for words in said)
    kept = [*(tmp_path / "state").rglob("*.jsonl")]
    assert kept
    assert not any(KEY in text for text in [*said, *(file.read_text() for file in kept)])


def test_several_models_and_no_name_are_a_question_before_anything_runs(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.models = [{"id": "a"}, {"id": "b"}]
    repository = make_repository(tmp_path / "work")
    assert answer(["fix", str(repository), "--engine", script.url]) == USAGE
    assert "choose one with --model: a, b" in capsys.readouterr().err
    assert script.requests == []


def test_the_flag_wins_over_the_settings_and_a_name_is_one_of_the_servers(tmp_path: Path) -> None:
    settings = tmp_path / "config" / "qwen-agent" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        f'[model]\nname = "nano"\n[engine]\nurl = "{URL}"\nmodel = "big"\nfirst_token_s = 60\n'
    )
    typed: Namespace = parse(["fix", "."])
    request = request_of(typed, load_config(settings))
    assert (request.config.engine.url, request.model) == (URL, "big")
    assert request.config.engine.first_token_s == 60
    for words, name in ((["--model", "c"], "c"), ([], "auto")):
        other = request_of(
            parse(["fix", ".", "--engine", "http://b", *words]), load_config(settings)
        )
        assert (other.config.engine.url, other.model) == ("http://b", name)
    inside = request_of(parse(["fix", ".", "--engine", ""]), load_config(settings))
    assert (inside.config.engine.url, inside.model) == ("", "nano")
    assert FixRequest.from_record(json.loads(json.dumps(request.to_record()))) == request
    talk = talk_request_of(parse(["talk", "-p", "hi"]))
    assert (talk.config.engine.url, talk.model) == (URL, "big")


@pytest.mark.parametrize("url", ["gpu.lan:8000", "http://me:secret@gpu.lan"])
def test_what_is_no_address_is_refused_wherever_it_stands(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--engine"):
        request_of(parse(["fix", ".", "--engine", url]), Config())
    (tmp_path / "config.toml").write_text(f'[engine]\nurl = "{url}"\n')
    with pytest.raises(ConfigError, match="engine"):
        load_config(tmp_path / "config.toml")


def test_a_repository_cannot_name_the_server_that_answers(tmp_path: Path) -> None:
    (tmp_path / REPOSITORY_FILE).write_text(f'[engine]\nurl = "{URL}"\n')
    config, ignored = narrow(Config(), tmp_path)
    assert config.engine == EngineConfig()
    assert ignored == ("engine",)


def test_a_first_start_can_name_a_server_and_keeps_it(tmp_path: Path) -> None:
    request = TalkRequest(tmp_path).answered_by(URL)
    assert (request.config.engine.url, request.model) == (URL, "auto")
    assert not needs_choice(request)
    assert "Kept in" in _kept(URL)
    settings = tmp_path / "config" / "qwen-agent" / "config.toml"
    assert load_config(settings).engine.url == URL


def test_the_doctor_says_what_answers() -> None:
    engine = EngineConfig(URL)

    def gone() -> ServedModel:
        raise ModelUnavailable(f"No server answers at {URL}.")

    good = doctor.server(engine, True, lambda: ServedModel("m", 8192))
    assert (good.state, good.text) == (
        "ok",
        f"m at {URL}, with a key, a window of 8,192 tokens",
    )
    assert "does not say" in doctor.server(engine, False, lambda: ServedModel("m")).text
    assert doctor.server(engine, False, gone).exit_code == 7


def test_one_answer_of_a_server_is_printed(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    repository = make_repository(tmp_path / "work")
    assert answer([str(repository), "--engine", script.url, "-p", "Say hello."]) == 0
    assert capsys.readouterr().out.strip() == "Hello."
    with serving(Script([says("Again.")])) as moved:
        words = ["--continue", "--engine", moved.url, "-p", "Once more."]
        assert answer([str(repository), *words]) == 0
        assert len(moved.requests[0]["messages"]) == 4, "all that was said before goes with it"
    assert capsys.readouterr().out.strip() == "Again."
