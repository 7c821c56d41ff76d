"""docs/acp.md names every method and update of version 1, each with a test that is there."""

import re
from pathlib import Path

from acp import meta, schema

from agent.frontends.acp.agent_v1 import AgentV1
from agent.frontends.acp.commands import Commands
from agent.frontends.acp.desk import Desk, Setup
from agent.frontends.acp.rpc import Peer
from agent.frontends.acp.stdio import Wire
from agent.own_commands import own_commands
from agent.request import FixRequest
from agent.talk_request import TalkRequest
from inference.chat import ChatModel
from tests.agent.acp.editor import ROOT

PAGE = (ROOT / "docs" / "acp.md").read_text()
NOT_IN_V1 = ("providers/", "nes/", "document/", "mcp/")
"""What the SDK knows besides version 1, all of it unstable."""
NOT_CALLED = {"elicitation/complete"}
UNSTABLE_UPDATES = {"plan_update", "plan_removed"}


def rows(title: str) -> dict[str, str]:
    """Return the first column of a table with its last, both as they stand between backticks."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| `([^`]+)` \|.*\| `(test_\w+)` \|$", section, re.M)
    return dict(found)


def updates_of_the_schema() -> set[str]:
    """Return the names of all updates that the SDK knows."""
    union = schema.SessionNotification.model_fields["update"].annotation
    kinds = union.__args__  # type: ignore[union-attr]
    names = (kind.model_fields["session_update"].annotation for kind in kinds)
    return {name.__args__[0] for name in names}


def test_every_method_that_an_editor_calls_is_documented_and_has_a_route() -> None:
    known = {name for name in meta.AGENT_METHODS.values() if not name.startswith(NOT_IN_V1)}
    ours = {"$/cancel_request", "_qwen-agent/steer"}
    assert {*rows("Methods that the editor calls")} == known | ours
    routes = {*routes_of_the_agent()}
    assert routes == known - {"initialize", "session/cancel"}


def test_every_method_that_the_agent_may_call_is_documented() -> None:
    names = {name for name in meta.CLIENT_METHODS.values() if not name.startswith(NOT_IN_V1)}
    called = {name for name in names if not name.startswith(tuple(NOT_CALLED))}
    assert {*rows("Methods that the agent calls")} == called
    assert all(f"`{start}" in PAGE for start in NOT_CALLED)


def test_every_update_is_documented() -> None:
    assert {*rows("Updates")} == updates_of_the_schema() - UNSTABLE_UPDATES


def test_every_test_that_is_named_is_there() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    named = {*re.findall(r"`(test_\w+)`", PAGE)}
    assert len(named) > 10
    assert {name for name in named if f"def {name}(" not in tests} == set()


def test_every_command_is_named() -> None:
    offered = {one.name for one in Commands(Path("/none")).offers().available_commands}
    assert own_commands(Path("/none")) == {}
    assert {name for name in offered if f"/{name}" not in PAGE} == set()


def no_model(_request: FixRequest) -> ChatModel:
    raise AssertionError("no session is opened")


def routes_of_the_agent() -> list[str]:
    """Return the methods of version 1 that have a route."""
    with Path("/dev/null").open("rb") as reader, Path("/dev/null").open("wb") as writer:
        peer = Peer(Wire(reader, writer))
    setup = Setup(TalkRequest(Path()), Path(), no_model, str, Commands(Path()))
    return [*AgentV1(Desk(peer, setup)).routes]
