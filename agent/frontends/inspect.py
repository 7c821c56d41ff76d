"""`qwen-agent models` and `sessions`: what is there; nothing is changed."""

from argparse import Namespace

from agent.config import state_folder
from agent.frontends.console import visible
from agent.journal import read
from agent.models import cached_models, resolve
from agent.session import JOURNAL, find_session, list_sessions
from inference.errors import ModelUnavailable

GIB = 1024**3


def inspect(arguments: Namespace) -> int:
    """Carry out the command that was typed; return its exit code.

    Raises:
        AgentError: it cannot be done.
    """
    if arguments.command == "models":
        return models()
    return sessions(arguments.action, arguments.id or "")


def models() -> int:
    """Print the models that can be used without a download, and what `auto` means."""
    print("nano  bundled; repairs toy bugs, for demonstrations and tests only")
    for model in cached_models():
        print(f"{model.hub_id}  {model.family}, {model.num_bytes / GIB:.1f} GiB, in the hub cache")
    try:
        print(f"auto: {resolve('auto')}")
    except ModelUnavailable as error:
        print(f"auto: {error}")
    return 0


def sessions(action: str, name: str) -> int:
    """List past runs, or show the conversation of one.

    Raises:
        AgentError: there is no such session, or it cannot be read.
    """
    state = state_folder()
    if action == "list":
        for info in list_sessions(state):
            code = "-" if info.exit_code is None else str(info.exit_code)
            print(f"{info.id}  {code:>3}  {visible(info.repository)}  {visible(info.sentence)}")
        return 0
    if not name:
        name = next((info.id for info in list_sessions(state)), "")
    records = read(find_session(state, name or "none", None) / JOURNAL)
    for record in records:
        if record["type"] == "message":
            message = record["message"]
            print(f"{message['role']}: {visible(message.get('content', ''))}")
            for call in message.get("tool_calls", ()):
                print(f"  > {visible(str(call.get('name', call.get('reason'))))}")
        elif record["type"] == "end":
            print(f"end: exit code {record['exit_code']}, {visible(record['sentence'])}")
    return 0
