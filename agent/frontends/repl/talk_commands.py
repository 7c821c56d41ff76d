"""Commands that change the talk: its model, its mode, where it stands."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, get_args

from agent.errors import UsageError
from agent.events import Event
from agent.frontends.repl.activity import call_words
from agent.frontends.repl.dialogs import Choice, Picker
from agent.frontends.repl.going_back import change_lines, gone_back, moved
from agent.frontends.repl.session_list import earlier_talks, last_used
from agent.frontends.repl.text import harmless, one_line
from agent.frontends.repl.worker import Printed
from agent.models import NANO, cached_models
from agent.notes import is_prompt
from agent.settings import ABOUT_MODES, ApprovalMode
from agent.typed import typed_in
from agent.wording import prompt
from inference.errors import ModelUnavailable
from sandbox.base import Cancel

if TYPE_CHECKING:
    from agent.conversation import Conversation
    from agent.frontends.repl.host import Host
    from agent.frontends.repl.paint import Painter
    from agent.rewind import Point
    from agent.session import Session
    from agent.talk_commit import Draft

MODES: tuple[ApprovalMode, ...] = get_args(ApprovalMode)
MAX_ATTEMPTS = 16
MAX_PREVIEW_LINES = 8
MAX_SESSIONS = 200
MAX_RECALLED = 6
"""Prompts and replies that are shown again when a talk is gone on with."""
RUN_HOOKS = "`git commit --amend --no-edit --only` runs them afterwards."
SHORT_ID = 10


def model(repl: "Host", words: str) -> None:
    """Choose which model answers from the next turn on."""

    def choose(name: str) -> None:
        repl.do(lambda _cancel: _set_model(repl, name))

    if words:
        choose(words)
        return
    server = repl.talk.request.config.engine.url if repl.talk else ""
    if server:
        repl.say(f"{server} answers; /model NAME takes another of its models.")
        return
    names = [NANO, *(cached.hub_id for cached in cached_models())]
    about = ["bundled; repairs toy bugs only", *("in the hub cache" for _ in names[1:])]
    choices = [Choice(name, words) for name, words in zip(names, about, strict=True)]
    _pick(repl, "Which model? (/model FOLDER or /model HUB-ID names another)", choices, choose)


def _set_model(repl: "Host", name: str) -> Iterator[Printed]:
    talk = _talk(repl)
    try:
        talk.set_model(name)
    except ModelUnavailable as error:
        raise ModelUnavailable(str(error).replace("--model", "/model")) from error
    yield _sentence(f"{name} answers from the next turn on.")


def mode(repl: "Host", words: str) -> None:
    """Choose what runs without asking."""
    talk = repl.talk
    if talk is None:
        return
    if words == "next":
        words = MODES[(MODES.index(talk.mode) + 1) % len(MODES)]

    def choose(name: str) -> None:
        known = next((known for known in MODES if known == name), None)
        if known is None:
            repl.say(f"There is no mode {name}; there are {', '.join(MODES)}.", "warn")
            return
        try:
            talk.set_mode(known)
        except UsageError as error:
            repl.say(f"{error}.", "warn")
        else:
            repl.say(f"Mode {name}: {ABOUT_MODES[known]}.")

    if words:
        choose(words)
    else:
        choices = [Choice(name, ABOUT_MODES[name]) for name in MODES]
        _pick(repl, "What runs without asking?", choices, choose, at=MODES.index(talk.mode))


def compact(repl: "Host", _words: str) -> None:
    """Put the conversation in short form."""
    repl.do(lambda cancel: _talk(repl).compact(cancel), "putting the conversation in short form")


def undo(repl: "Host", _words: str) -> None:
    """Take back the last change of the model."""
    from agent.rewind import last_change

    repl.do(lambda _cancel: gone_back(repl, last_change(_talk(repl).session), "Undone"))


def redo(repl: "Host", _words: str) -> None:
    """Take back the last undo or rewind."""
    repl.do(lambda _cancel: moved(repl, lambda talk: talk.redo()))


def rewind(repl: "Host", _words: str) -> None:
    """Choose an earlier moment and go back to it."""
    points = _talk(repl).points()
    if not points:
        repl.say("There is nothing to go back to yet.")
        return

    def chosen(index: int | None) -> None:
        repl.close_dialog()
        if index is not None:
            point = points[index]
            repl.do(lambda _cancel: gone_back(repl, point))

    choices = [_moment(repl, point) for point in points]
    title = "Go back to just before"
    repl.open_dialog(Picker(title, choices, chosen, at=len(choices) - 1))


def fork(repl: "Host", _words: str) -> None:
    """Begin a second talk, and be in it."""

    def steps(_cancel: Cancel) -> Iterator[Printed]:
        talk = _talk(repl).fork()
        repl.enter(talk)
        yield _sentence(f"This is a new talk, {talk.id}; /branches goes back to the other.")

    repl.do(steps, "forking")


def branches(repl: "Host", _words: str) -> None:
    """Choose one of the talks of this session."""
    names = [talk.id for talk in repl.talks]

    def choose(name: str) -> None:
        repl.enter(repl.talks[names.index(name)])
        repl.say(f"This is {name}.")

    choices = [Choice(talk.id, _last_words(talk)) for talk in repl.talks]
    at = names.index(_talk(repl).id)
    _pick(repl, "Which talk?", choices, choose, at)


def resume(repl: "Host", words: str) -> None:
    """Go on with an earlier session."""

    def choose(name: str) -> None:
        repl.do(lambda _cancel: _resume(repl, name), "resuming")

    if words:
        choose(words)
        return
    found = [
        Choice(info.id, f"{last_used(info)}  {info.title}")
        for info in earlier_talks(repl)[:MAX_SESSIONS]
    ]
    if found:
        _pick(repl, "Which session?", found, choose)
    else:
        repl.say("There is no other session of this repository.")


def commit(repl: "Host", words: str) -> None:
    """Commit what the model changed: with these words, or with some that are proposed first."""

    def make(text: str) -> None:
        repl.do(lambda _cancel: _committed(repl, text), "committing")

    def answered(text: str | None) -> None:
        if text and text.strip():
            make(text)
        else:
            repl.say("Nothing was committed.")

    def propose(cancel: Cancel) -> Iterator[Event | Printed]:
        draft = yield from _talk(repl).draft_commit(cancel)

        def ask(painter: "Painter") -> str:
            repl.prompt.borrow("commit: ", draft.words, answered)
            return _drawn(draft, painter)

        yield Printed(ask)

    if words:
        make(words)
    else:
        repl.do(propose, "looking at what changed")


def _drawn(draft: "Draft", painter: "Painter") -> str:
    """Show what would be committed, and what would not look at it."""
    head = painter.line(
        ("bold", "To be committed"), (painter.theme.dim, "  Enter commits, Esc leaves")
    )
    shown = head + painter.quoted(harmless("\n".join(draft.paths)), "")
    if draft.hooks:
        shown += painter.line(
            (painter.theme.warn, f"Not run: {', '.join(draft.hooks)}. {RUN_HOOKS}")
        )
    return shown


def _committed(repl: "Host", words: str) -> Iterator[Printed]:
    commit = _talk(repl).commit(words)
    subject = one_line(words.strip().split("\n")[0], 60)
    yield _sentence(f"Committed {commit[:SHORT_ID]}: {subject}")


def run_tests(repl: "Host", _words: str) -> None:
    """Run the tests as they are now."""
    repl.do(lambda cancel: _talk(repl).run_tests(cancel))


def attempts(repl: "Host", words: str) -> None:
    """Have attempts made on copies."""
    number, _, text = words.partition(" ")
    if not number.isdecimal() or not 1 <= int(number) <= MAX_ATTEMPTS or not text.strip():
        repl.say(f"Write /attempts N PROMPT, with N from 1 to {MAX_ATTEMPTS}.", "warn")
        return
    words = f"making attempts, up to {number}"
    repl.do(lambda cancel: _talk(repl).attempts(text.strip(), int(number), cancel), words)


def init(repl: "Host", _words: str) -> None:
    """Have AGENTS.md written."""
    repl.prompt_model(prompt("init"))


def _moment(repl: "Host", point: "Point") -> Choice:
    """Show a point by what would be taken back first: the prompt, or what the model did."""
    session = _talk(repl).session
    message = session.messages[point.num_kept]
    if message.role == "user":
        first, *rest = typed_in(session, point.num_kept).strip().split("\n")
        return Choice(f"> {first}", preview="\n".join(rest[:MAX_PREVIEW_LINES]))
    calls = [call_words(call, 60) for call in message.tool_calls]
    said = message.content.strip().split("\n")[:1]
    done = [line for call in message.tool_calls for line in change_lines(call)]
    if len(done) > MAX_PREVIEW_LINES:
        done[MAX_PREVIEW_LINES:] = [f"({len(done) - MAX_PREVIEW_LINES} more lines)"]
    return Choice(f"  {', '.join(calls)}", preview="\n".join([*filter(None, said), *done]))


def _resume(repl: "Host", name: str) -> Iterator[Printed]:
    talk = repl.reopen(name)
    if (repository := talk.session.start["repository"]) != str(repl.launch.root):
        talk.close()
        raise UsageError(f"{name} is about {repository}; start qwen-agent there to go on with it")
    repl.enter(talk)
    yield from recalled(repl, talk)


def recalled(repl: "Host", talk: "Conversation") -> Iterator[Printed]:
    """Show where a talk stands that is gone on with: the last that was said in it."""
    session = talk.session
    said = [
        index
        for index, one in enumerate(session.messages)
        if (is_prompt(one) or one.role == "assistant") and one.content.strip()
    ]
    yield _sentence(f"This is {talk.id} again.")
    if num_more := len(said[:-MAX_RECALLED]):
        yield _sentence(f"({num_more} earlier prompts and replies; /export FILE writes all)")
    for index in said[-MAX_RECALLED:]:
        yield _recalled(repl, session, index)


def _recalled(repl: "Host", session: "Session", index: int) -> Printed:
    message = session.messages[index]
    if message.role == "assistant":
        return Printed(lambda _painter: repl.story.told(message.content))
    typed = typed_in(session, index)  # now: the session may be another one when it is drawn
    return Printed(lambda _painter: repl.story.said(typed))


def _last_words(talk: "Conversation") -> str:
    prompts = [point.words for point in talk.points() if point.kind == "prompt"]
    return prompts[-1] if prompts else ""


def _pick(
    repl: "Host", title: str, choices: list[Choice], choose: Callable[[str], None], at: int = 0
) -> None:
    def chosen(index: int | None) -> None:
        repl.close_dialog()
        if index is not None:
            choose(choices[index].words)

    repl.open_dialog(Picker(title, choices, chosen, at))


def _talk(repl: "Host") -> "Conversation":
    assert repl.talk is not None, "commands wait until the talk is open"
    return repl.talk


def _sentence(text: str) -> Printed:
    return Printed(lambda painter: painter.line((painter.theme.dim, text)))
