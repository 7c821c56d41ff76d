"""Commands that change the talk: its model, its mode, where it stands."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, get_args

from agent.errors import UsageError
from agent.events import Event
from agent.frontends.repl.activity import call_words
from agent.frontends.repl.dialogs import Choice, Picker
from agent.frontends.repl.text import harmless, one_line
from agent.frontends.repl.worker import Printed
from agent.models import NANO, cached_models
from agent.settings import ABOUT_MODES, ApprovalMode
from agent.wording import prompt
from sandbox.base import Cancel

if TYPE_CHECKING:
    from agent.conversation import Conversation
    from agent.frontends.repl.paint import Painter
    from agent.frontends.repl.repl import Repl
    from agent.rewind import Point, Rewound
    from agent.talk_commit import Draft

MODES: tuple[ApprovalMode, ...] = get_args(ApprovalMode)
MAX_ATTEMPTS = 16
MAX_PREVIEW_LINES = 5
MAX_SESSIONS = 200
RUN_HOOKS = "`git commit --amend --no-edit --only` runs them afterwards."
SHORT_ID = 10


def model(repl: "Repl", words: str) -> None:
    """Choose which model answers from the next turn on."""

    def choose(name: str) -> None:
        repl.do(lambda _cancel: _set_model(repl, name))

    if words:
        choose(words)
        return
    names = [NANO, *(cached.hub_id for cached in cached_models())]
    about = ["bundled; repairs toy bugs only", *("in the hub cache" for _ in names[1:])]
    choices = [Choice(name, words) for name, words in zip(names, about, strict=True)]
    _pick(repl, "Which model? (/model FOLDER or /model HUB-ID names another)", choices, choose)


def _set_model(repl: "Repl", name: str) -> Iterator[Printed]:
    talk = _talk(repl)
    talk.set_model(name)
    yield _sentence(f"{name} answers from the next turn on.")


def mode(repl: "Repl", words: str) -> None:
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
            repl.below.forget_status()
            repl.say(f"Mode {name}: {ABOUT_MODES[known]}.")

    if words:
        choose(words)
    else:
        choices = [Choice(name, ABOUT_MODES[name]) for name in MODES]
        _pick(repl, "What runs without asking?", choices, choose, at=MODES.index(talk.mode))


def compact(repl: "Repl", _words: str) -> None:
    """Put the conversation in short form."""
    repl.do(lambda cancel: _talk(repl).compact(cancel), "putting the conversation in short form")


def undo(repl: "Repl", _words: str) -> None:
    """Take back the last change of the model."""
    repl.do(lambda _cancel: _moved(repl, lambda talk: talk.undo(), "Undone"))


def redo(repl: "Repl", _words: str) -> None:
    """Take back the last undo or rewind."""
    repl.do(lambda _cancel: _moved(repl, lambda talk: talk.redo()))


def rewind(repl: "Repl", _words: str) -> None:
    """Choose an earlier moment and go back to it."""
    points = _talk(repl).points()
    if not points:
        repl.say("There is nothing to go back to yet.")
        return

    def chosen(index: int | None) -> None:
        repl.close_dialog()
        if index is not None:
            point = points[index]
            repl.do(lambda _cancel: _moved(repl, lambda talk: talk.rewind(point)))

    choices = [_moment(repl, point) for point in points]
    title = "Go back to just before"
    repl.open_dialog(Picker(title, choices, chosen, at=len(choices) - 1))


def fork(repl: "Repl", _words: str) -> None:
    """Begin a second talk, and be in it."""

    def steps(_cancel: Cancel) -> Iterator[Printed]:
        talk = _talk(repl).fork()
        repl.enter(talk)
        yield _sentence(f"This is a new talk, {talk.id}; /branches goes back to the other.")

    repl.do(steps, "forking")


def branches(repl: "Repl", _words: str) -> None:
    """Choose one of the talks of this session."""
    names = [talk.id for talk in repl.talks]

    def choose(name: str) -> None:
        repl.enter(repl.talks[names.index(name)])
        repl.say(f"This is {name}.")

    choices = [Choice(talk.id, _last_words(talk)) for talk in repl.talks]
    at = names.index(_talk(repl).id)
    _pick(repl, "Which talk?", choices, choose, at)


def resume(repl: "Repl", words: str) -> None:
    """Go on with an earlier session."""
    from agent.sessions import list_sessions

    def choose(name: str) -> None:
        repl.do(lambda _cancel: _resume(repl, name), "resuming")

    if words:
        choose(words)
        return
    here, root = {talk.id for talk in repl.talks}, str(repl.launch.root)
    found = [
        Choice(info.id, f"{info.num_messages} messages  {info.sentence}")
        for info in list_sessions(repl.launch.state)
        if info.kind == "talk" and info.repository == root and info.id not in here
    ]
    if found:
        _pick(repl, "Which session?", found[:MAX_SESSIONS], choose)
    else:
        repl.say("There is no other session of this repository.")


def commit(repl: "Repl", words: str) -> None:
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


def _committed(repl: "Repl", words: str) -> Iterator[Printed]:
    commit = _talk(repl).commit(words)
    subject = one_line(words.strip().split("\n")[0], 60)
    yield _sentence(f"Committed {commit[:SHORT_ID]}: {subject}")


def run_tests(repl: "Repl", _words: str) -> None:
    """Run the tests as they are now."""
    repl.do(lambda cancel: _talk(repl).run_tests(cancel), "running the tests")


def attempts(repl: "Repl", words: str) -> None:
    """Have attempts made on copies."""
    number, _, text = words.partition(" ")
    if not number.isdecimal() or not 1 <= int(number) <= MAX_ATTEMPTS or not text.strip():
        repl.say(f"Write /attempts N PROMPT, with N from 1 to {MAX_ATTEMPTS}.", "warn")
        return
    repl.do(lambda cancel: _talk(repl).attempts(text.strip(), int(number), cancel))


def init(repl: "Repl", _words: str) -> None:
    """Have AGENTS.md written."""
    repl.prompt_model(prompt("init"))


def _moment(repl: "Repl", point: "Point") -> Choice:
    """Show a point by what would be taken back first: the prompt, or what the model did."""
    from agent.told import typed_text

    message = _talk(repl).session.messages[point.num_kept]
    if message.role == "user":
        first, *rest = typed_text(message.content).strip().split("\n")
        return Choice(f"> {first}", preview="\n".join(rest[:MAX_PREVIEW_LINES]))
    calls = [call_words(call, 60) for call in message.tool_calls]
    said = message.content.strip().split("\n")[:MAX_PREVIEW_LINES]
    return Choice(f"  {', '.join(calls)}", preview="\n".join(said))


def _moved(
    repl: "Repl", move: "Callable[[Conversation], Rewound]", done: str = "Went to just before"
) -> Iterator[Event | Printed]:
    """Go back or forth, and say what that did."""
    moved = move(_talk(repl))
    where = f"{done}: {one_line(moved.point.words, 60)}." if moved.point else "Went forward again."
    files = ", ".join(moved.paths[:5]) + (" and more" if len(moved.paths) > 5 else "")
    yield _sentence(where + (f" Changed: {one_line(files, 400)}." if files else ""))
    if moved.prompt:
        yield Printed(lambda _painter: repl.prompt.put(moved.prompt))


def _resume(repl: "Repl", name: str) -> Iterator[Printed]:
    talk = repl.launch.resume(repl, name)
    if (repository := talk.session.start["repository"]) != str(repl.launch.root):
        talk.close()
        raise UsageError(f"{name} is about {repository}; start qwen-agent there to go on with it")
    repl.enter(talk)
    yield from recalled(repl, talk)


def recalled(repl: "Repl", talk: "Conversation") -> Iterator[Printed]:
    """Show where a talk stands that is gone on with: its last prompt and reply."""
    prompt = _last_words(talk)
    replies = [one.content for one in talk.session.messages if one.role == "assistant"]
    yield _sentence(f"This is {talk.id} again.")
    if prompt:
        yield Printed(lambda _painter: repl.story.said(prompt))
    if replies:
        yield Printed(lambda _painter: repl.story.told(replies[-1]))


def _last_words(talk: "Conversation") -> str:
    prompts = [point.words for point in talk.points() if point.kind == "prompt"]
    return prompts[-1] if prompts else ""


def _pick(
    repl: "Repl", title: str, choices: list[Choice], choose: Callable[[str], None], at: int = 0
) -> None:
    def chosen(index: int | None) -> None:
        repl.close_dialog()
        if index is not None:
            choose(choices[index].words)

    repl.open_dialog(Picker(title, choices, chosen, at))


def _talk(repl: "Repl") -> "Conversation":
    assert repl.talk is not None, "commands wait until the talk is open"
    return repl.talk


def _sentence(text: str) -> Printed:
    return Printed(lambda painter: painter.line((painter.theme.dim, text)))
