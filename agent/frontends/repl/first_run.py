"""The first start, when no model is chosen and none is there: what there is to choose from.

A choice is kept when it has proved good: its model is there, or has begun to come.
"""

import json
import queue
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from agent.config import config_file
from agent.engine import is_address, meant
from agent.errors import UsageError
from agent.events import Event, ModelProgress
from agent.frontends.repl.dialogs import Choice, Picker
from agent.frontends.repl.paint import Painter
from agent.frontends.repl.worker import Printed
from agent.models import NANO, resolve
from inference.errors import InferenceError, ModelUnavailable
from inference.pins import hub_cache
from sandbox.base import Cancel

if TYPE_CHECKING:
    from agent.conversation import Conversation
    from agent.frontends.repl.host import Host
    from agent.talk_request import TalkRequest

POLL_S = 0.05
FOLDER, HUB, SERVER = "a folder", "a hub id", "a server"
OFFERS = (
    Choice(NANO, "comes with qwen-agent; to try it out, mends toy bugs only"),
    Choice(FOLDER, "a Qwen checkpoint on this disk"),
    Choice(HUB, "such as Qwen/Qwen3.5-4B: downloaded once, then kept"),
    Choice(SERVER, "that has a model already: vLLM, SGLang, llama.cpp, Ollama"),
)
LABELS = {FOLDER: "folder: ", HUB: "hub id: ", SERVER: "its address, as http://localhost:8000/v1: "}

Asking = Generator[Event | Printed, None, str]
Opening = Generator[Event | Printed, None, "Conversation"]


def needs_choice(request: "TalkRequest") -> bool:
    """Say whether the person has to choose a model, because none is set and none is there."""
    try:
        meant(request.model, request.config.engine)
    except ModelUnavailable:
        return request.model == "auto"
    return False


def open_chosen(host: "Host", begin: "Callable[[str], Conversation]", cancel: Cancel) -> Opening:
    """Have a model chosen until one can be had; return the talk that `begin` opens with it.

    Raises:
        ModelUnavailable: the person chose none.
        RunCancelled: they did not wait for it.
    """
    yield Printed(_welcome())
    while True:
        name = yield from _chosen(host, cancel)
        try:
            if not is_address(name):
                resolve(name)
            talk = begin(name)
        except (ModelUnavailable, UsageError) as error:
            yield _styled("bold", str(error))
            continue
        try:
            yield from _proved(talk, cancel)
        except BaseException as error:
            talk.close()
            if not isinstance(error, InferenceError):
                raise
            yield _styled("bold", f"{name} cannot be used: {error}")
        else:
            yield Printed.sentence(_kept(name))
            return talk


def _proved(talk: "Conversation", cancel: Cancel) -> Generator[Event, None, None]:
    """Wait until the model is there, or its download has begun, so that it exists."""
    for event in talk.load(cancel):
        yield event
        if isinstance(event, ModelProgress):
            return


def _chosen(host: "Host", cancel: Cancel) -> Asking:
    """Ask once for a model."""
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    def chosen(index: int | None) -> None:
        host.close_dialog()
        choice = OFFERS[index].words if index is not None else ""
        if choice in LABELS:
            host.prompt.borrow(LABELS[choice], "", lambda text: answers.put(text or ""))
        else:
            answers.put(choice)

    picker = Picker("Which model?", OFFERS, chosen)
    yield Printed(_then(lambda: host.open_dialog(picker)))
    name = _waited(answers, cancel).strip()
    if not name:
        raise ModelUnavailable("no model was chosen; `qwen-agent --model nano` tries the small one")
    return name


def _waited(answers: "queue.SimpleQueue[str]", cancel: Cancel) -> str:
    while not cancel():
        try:
            return answers.get(timeout=POLL_S)
        except queue.Empty:
            continue
    return ""


def _welcome() -> Callable[[Painter], str]:
    """Say what there is to choose from on this machine: looked up here, drawn by the screen."""
    from agent.frontends.plan import table as plan_table  # not on the way to a prompt
    from agent.hardware import read_hardware
    from agent.planning import all_answers

    hardware = read_hardware()
    lines = (
        "No model is chosen yet. What fits:",
        *plan_table(hardware, all_answers(hardware)),
        "",
        f"Models of the hub are kept in {hub_cache()}.",
        "Offline: copy a checkpoint (config.json, tokenizer.json, *.safetensors) from another "
        "machine into a folder, and name the folder.",
    )
    return lambda painter: "".join(
        painter.line(("bold" if not n else "", line)) for n, line in enumerate(lines)
    )


def _styled(style: str, words: str) -> Printed:
    return Printed(lambda painter: painter.line((style, words)))


def _kept(name: str) -> str:
    """Write the choice down if there are no settings yet; else say how."""
    path = config_file()
    table, key = ("engine", "url") if is_address(name) else ("model", "name")
    line = f"{key} = {json.dumps(name)}"
    if path.exists():
        return f"To keep it, write [{table}] {line} into {path}."
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(f"[{table}]\n{line}\n", encoding="utf-8")
    except OSError as error:
        return f"{path} cannot be written: {error.strerror}"
    return f"Kept in {path}."


def _then(run: Callable[[], None]) -> Callable[[Painter], str]:
    """Turn something to do at the screen into lines: none."""

    def draw(_painter: Painter) -> str:
        run()
        return ""

    return draw
