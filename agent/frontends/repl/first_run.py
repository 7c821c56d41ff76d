"""The first start, when no model is chosen and none is there: what there is to choose from.

It runs in the worker, and has the screen ask. Nothing is downloaded here; that begins when the
model is loaded.
"""

import queue
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from agent.config import config_file
from agent.frontends.plan import table as plan_table
from agent.frontends.repl.dialogs import Choice, Picker
from agent.frontends.repl.paint import Painter
from agent.frontends.repl.worker import Printed
from agent.hardware import read_hardware
from agent.models import NANO, hub_cache, resolve
from agent.planning import all_answers
from inference.errors import ModelUnavailable
from sandbox.base import Cancel

if TYPE_CHECKING:
    from agent.frontends.repl.repl import Repl

POLL_S = 0.05
FOLDER, HUB = "a folder", "a hub id"
OFFERS = (
    Choice(NANO, "comes with qwen-agent; to try it out, mends toy bugs only"),
    Choice(FOLDER, "a Qwen checkpoint on this disk"),
    Choice(HUB, "such as Qwen/Qwen3.5-4B: downloaded once, then kept"),
)
LABELS = {FOLDER: "folder: ", HUB: "hub id: "}

Asking = Generator[Printed, None, str]


def choose_model(repl: "Repl", asked: str, cancel: Cancel) -> Asking:
    """Return the model to use, asking the person if `auto` finds none.

    Raises:
        ModelUnavailable: a model was named that is not there; or the person chose none.
    """
    try:
        resolve(asked)
    except ModelUnavailable:
        if asked != "auto":
            raise
    else:
        return asked
    yield Printed(_welcome())
    while True:
        name = yield from _chosen(repl, cancel)
        try:
            resolve(name)
        except ModelUnavailable as error:
            yield _bold(str(error))
        else:
            break
    kept = _kept(name)
    yield Printed(lambda painter: painter.line((painter.theme.dim, kept)))
    return name


def _chosen(repl: "Repl", cancel: Cancel) -> Asking:
    """Ask once for a model."""
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    def chosen(index: int | None) -> None:
        repl.close_dialog()
        choice = OFFERS[index].words if index is not None else ""
        if choice in LABELS:
            repl.prompt.borrow(LABELS[choice], "", lambda text: answers.put(text or ""))
        else:
            answers.put(choice)

    picker = Picker("Which model?", OFFERS, chosen)
    yield Printed(_then(lambda: repl.open_dialog(picker)))
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
    hardware = read_hardware()
    lines = (
        "No model is chosen yet. What fits:",
        *plan_table(hardware, all_answers(hardware, None)),
        "",
        f"Models of the hub are kept in {hub_cache()}.",
        "Offline: copy a checkpoint (config.json, tokenizer.json, *.safetensors) from another "
        "machine into a folder, and name the folder.",
    )
    return lambda painter: "".join(
        painter.line(("bold" if not n else "", line)) for n, line in enumerate(lines)
    )


def _bold(words: str) -> Printed:
    return Printed(lambda painter: painter.line(("bold", words)))


def _kept(name: str) -> str:
    """Write the choice down if there are no settings yet; else say how."""
    path = config_file()
    line = f'[model]\nname = "{name}"\n'
    if name == NANO:
        return "nano is never chosen by itself: say --model nano the next time."
    if path.exists():
        return f'To keep it, write [model] name = "{name}" into {path}.'
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(line, encoding="utf-8")
    except OSError as error:
        return f"{path} cannot be written: {error.strerror}"
    return f"Kept in {path}."


def _then(run: Callable[[], None]) -> Callable[[Painter], str]:
    """Turn something to do at the screen into lines: none."""

    def draw(_painter: Painter) -> str:
        run()
        return ""

    return draw
