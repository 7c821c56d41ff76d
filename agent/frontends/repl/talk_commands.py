"""Commands that change the talk: its model, its mode, where it stands."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, get_args

from agent.errors import UsageError
from agent.events import Event
from agent.frontends.repl.activity import call_words
from agent.frontends.repl.dialogs import Choice, Picker
from agent.frontends.repl.going_back import change_lines, gone_back, moved
from agent.frontends.repl.host import talk_of
from agent.frontends.repl.session_list import earlier_talks, last_used
from agent.frontends.repl.text import harmless, one_line
from agent.frontends.repl.worker import Printed
from agent.models import NANO, cached_models
from agent.notes import is_prompt
from agent.settings import ABOUT_MODES, MAX_ATTEMPTS, ApprovalMode
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
MAX_PREVIEW_LINES = 8
MAX_SESSIONS = 200
MAX_RECALLED = 6
"""Prompts and replies that are shown again when a talk is gone on with."""
RUN_HOOKS = "`git commit --amend --no-edit --only` runs them afterwards."
SHORT_ID = 10


def model(host: "Host", words: str) -> None:
    """Choose which model answers from the next turn on."""

    def choose(name: str) -> None:
        host.do(lambda _cancel: _set_model(host, name))

    if words:
        choose(words)
        return
    server = host.talk.request.config.engine.url if host.talk else ""
    if server:
        host.say(f"{server} answers; /model NAME takes another of its models.")
        return
    names = [NANO, *(cached.hub_id for cached in cached_models())]
    about = ["bundled; repairs toy bugs only", *("in the hub cache" for _ in names[1:])]
    choices = [Choice(name, words) for name, words in zip(names, about, strict=True)]
    _pick(host, "Which model? (/model FOLDER or /model HUB-ID names another)", choices, choose)


def _set_model(host: "Host", name: str) -> Iterator[Printed]:
    talk = talk_of(host)
    try:
        talk.set_model(name)
    except ModelUnavailable as error:
        raise ModelUnavailable(str(error).replace("--model", "/model")) from error
    yield Printed.sentence(f"{name} answers from the next turn on.")


def mode(host: "Host", words: str) -> None:
    """Choose what runs without asking."""
    talk = host.talk
    if talk is None:
        return
    if words == "next":
        words = MODES[(MODES.index(talk.mode) + 1) % len(MODES)]

    def choose(name: str) -> None:
        known = next((known for known in MODES if known == name), None)
        if known is None:
            host.say(f"There is no mode {name}; there are {', '.join(MODES)}.", "warn")
            return
        try:
            talk.set_mode(known)
        except UsageError as error:
            host.say(f"{error}.", "warn")
        else:
            host.say(f"Mode {name}: {ABOUT_MODES[known]}.")

    if words:
        choose(words)
    else:
        choices = [Choice(name, ABOUT_MODES[name]) for name in MODES]
        _pick(host, "What runs without asking?", choices, choose, at=MODES.index(talk.mode))


def compact(host: "Host", _words: str) -> None:
    """Put the conversation in short form."""
    host.do(lambda cancel: talk_of(host).compact(cancel), "putting the conversation in short form")


def undo(host: "Host", _words: str) -> None:
    """Take back the last change of the model."""
    from agent.rewind import last_change

    host.do(lambda _cancel: gone_back(host, last_change(talk_of(host).session), "Undone"))


def redo(host: "Host", _words: str) -> None:
    """Take back the last undo or rewind."""
    host.do(lambda _cancel: moved(host, lambda talk: talk.redo()))


def rewind(host: "Host", _words: str) -> None:
    """Choose an earlier moment and go back to it."""
    points = talk_of(host).points()
    if not points:
        host.say("There is nothing to go back to yet.")
        return

    def chosen(index: int | None) -> None:
        host.close_dialog()
        if index is not None:
            point = points[index]
            host.do(lambda _cancel: gone_back(host, point))

    choices = [_moment(host, point) for point in points]
    title = "Go back to just before"
    host.open_dialog(Picker(title, choices, chosen, at=len(choices) - 1))


def fork(host: "Host", _words: str) -> None:
    """Begin a second talk, and be in it."""

    def steps(_cancel: Cancel) -> Iterator[Printed]:
        talk = talk_of(host).fork()
        host.enter(talk)
        yield Printed.sentence(f"This is a new talk, {talk.id}; /branches goes back to the other.")

    host.do(steps, "forking")


def branches(host: "Host", _words: str) -> None:
    """Choose one of the talks of this session."""
    names = [talk.id for talk in host.talks]

    def choose(name: str) -> None:
        host.enter(host.talks[names.index(name)])
        host.say(f"This is {name}.")

    choices = [Choice(talk.id, _last_words(talk)) for talk in host.talks]
    at = names.index(talk_of(host).id)
    _pick(host, "Which talk?", choices, choose, at)


def resume(host: "Host", words: str) -> None:
    """Go on with an earlier session."""

    def choose(name: str) -> None:
        host.do(lambda _cancel: _resume(host, name), "resuming")

    if words:
        choose(words)
        return
    found = [
        Choice(info.id, f"{last_used(info)}  {info.title}")
        for info in earlier_talks(host)[:MAX_SESSIONS]
    ]
    if found:
        _pick(host, "Which session?", found, choose)
    else:
        host.say("There is no other session of this repository.")


def commit(host: "Host", words: str) -> None:
    """Commit what the model changed: with these words, or with some that are proposed first."""

    def make(text: str) -> None:
        host.do(lambda _cancel: _committed(host, text), "committing")

    def answered(text: str | None) -> None:
        if text and text.strip():
            make(text)
        else:
            host.say("Nothing was committed.")

    def propose(cancel: Cancel) -> Iterator[Event | Printed]:
        draft = yield from talk_of(host).draft_commit(cancel)

        def ask(painter: "Painter") -> str:
            host.prompt.borrow("commit: ", draft.words, answered)
            return _drawn(draft, painter)

        yield Printed(ask)

    if words:
        make(words)
    else:
        host.do(propose, "looking at what changed")


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


def _committed(host: "Host", words: str) -> Iterator[Printed]:
    commit = talk_of(host).commit(words)
    subject = one_line(words.strip().split("\n")[0], 60)
    yield Printed.sentence(f"Committed {commit[:SHORT_ID]}: {subject}")


def run_tests(host: "Host", _words: str) -> None:
    """Run the tests as they are now."""
    host.do(lambda cancel: talk_of(host).run_tests(cancel))


def attempts(host: "Host", words: str) -> None:
    """Have attempts made on copies."""
    number, _, text = words.partition(" ")
    if not number.isdecimal() or not 1 <= int(number) <= MAX_ATTEMPTS or not text.strip():
        host.say(f"Write /attempts N PROMPT, with N from 1 to {MAX_ATTEMPTS}.", "warn")
        return
    words = f"making attempts, up to {number}"
    host.do(lambda cancel: talk_of(host).attempts(text.strip(), int(number), cancel), words)


def init(host: "Host", _words: str) -> None:
    """Have AGENTS.md written."""
    host.prompt_model(prompt("init"))


def _moment(host: "Host", point: "Point") -> Choice:
    """Show a point by what would be taken back first: the prompt, or what the model did."""
    session = talk_of(host).session
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


def _resume(host: "Host", name: str) -> Iterator[Printed]:
    talk = host.reopen(name)
    if (repository := talk.session.start["repository"]) != str(host.launch.root):
        talk.close()
        raise UsageError(f"{name} is about {repository}; start qwen-agent there to go on with it")
    host.enter(talk)
    yield from recalled(host, talk)


def recalled(host: "Host", talk: "Conversation") -> Iterator[Printed]:
    """Show where a talk stands that is gone on with: the last that was said in it."""
    session = talk.session
    said = [
        index
        for index, one in enumerate(session.messages)
        if (is_prompt(one) or one.role == "assistant") and one.content.strip()
    ]
    yield Printed.sentence(f"This is {talk.id} again.")
    if num_more := len(said[:-MAX_RECALLED]):
        yield Printed.sentence(f"({num_more} earlier prompts and replies; /export FILE writes all)")
    for index in said[-MAX_RECALLED:]:
        yield _recalled(host, session, index)


def _recalled(host: "Host", session: "Session", index: int) -> Printed:
    message = session.messages[index]
    if message.role == "assistant":
        return Printed(lambda _painter: host.story.told(message.content))
    typed = typed_in(session, index)  # now: the session may be another one when it is drawn
    return Printed(lambda _painter: host.story.said(typed))


def _last_words(talk: "Conversation") -> str:
    prompts = [point.words for point in talk.points() if point.kind == "prompt"]
    return prompts[-1] if prompts else ""


def _pick(
    host: "Host", title: str, choices: list[Choice], choose: Callable[[str], None], at: int = 0
) -> None:
    def chosen(index: int | None) -> None:
        host.close_dialog()
        if index is not None:
            choose(choices[index].words)

    host.open_dialog(Picker(title, choices, chosen, at))
