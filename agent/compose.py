"""Puts together what an attempt of the model works with, and loads the model itself.

Alone, besides `cli.py`, in choosing concrete classes. nano knows no tools and no words but those it
was trained on; every other model gets all there is.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from agent.bench import Bench, Materials, approver, tool_view
from agent.config import snapshots_folder
from agent.engine import settings_of
from agent.full_bench import FullBench
from agent.known_files import KnownFiles, TakeIn
from agent.load_news import LoadNews, window_words
from agent.models import NANO, resolve
from agent.parts import Parts
from agent.planning import plan_of
from agent.reach import workspace_of
from agent.recorder import Recorder
from agent.request import FixRequest
from agent.short_start import shortage_of
from inference.chat import ChatModel
from inference.door import EngineSettings
from inference.messages import ReplyOptions, SamplingOptions
from tools.bash import Bash
from tools.editor import StrReplaceEditor
from tools.editor_forms import FOR_NANO
from tools.finish import Finish
from tools.project import PYTEST
from tools.registry import Registry
from tools.run_tests import RunTests
from tools.search import Search, find_ripgrep

ChatFactory = Callable[[FixRequest], ChatModel]

SAMPLED = SamplingOptions(temperature=0.7, top_p=0.95, top_k=20)
"""For the attempts after the first, which must differ from it."""


def make_bench(given: Materials) -> Bench:
    """Put together what one attempt of the model works with."""
    if given.chat.name == NANO:
        return _nano_bench(given)
    return FullBench(given).bench()


def _nano_bench(given: Materials) -> Bench:
    place, view = given.place, tool_view(given.place)
    workspace, command = workspace_of(view), place.command or PYTEST
    commands = given.reach.commands(place.sandbox)
    known = KnownFiles(given.session, place.checkpoint)
    files = given.reach.files(view, known)
    tools = Registry(
        [
            Bash(commands, view, place.command_limits),
            StrReplaceEditor(files, FOR_NANO),
            Search(workspace, place.sandbox, view, find_ripgrep(view)),
            RunTests(command, place.environment, place.view, commands, place.test_limits),
            Finish(),
        ]
    )
    context = replace(given.config.context, compact_at=1.0)
    parts = Parts(
        given.chat,
        tools,
        given.options,
        replace(given.config, context=context),
        Recorder(place.checkpoint, place.base),
        given.deadline_s,
        approve=approver(given.config, view),
        before_call=(TakeIn(files, known),),
    )
    return Bench(parts, files=files)


def reply_options(chat: ChatModel, number: int, request: FixRequest) -> ReplyOptions:
    """Choose how attempt `number` samples: the first as the model's preset says, then warmer.

    At a temperature that was asked for all are alike, and differ by their seeds.
    """
    seed = request.seed + number - 1
    sampling = replace(SAMPLED, seed=seed) if number > 1 else None
    if request.temperature is not None:
        sampling = replace(SAMPLED, temperature=request.temperature, seed=seed)
    return ReplyOptions(
        sampling=sampling,
        seed=seed,
        max_new_tokens=request.config.model.max_new_tokens,
        thinking=chat.name != NANO,
    )


def load_chat(
    request: FixRequest, news: LoadNews | None = None, is_shared: bool = False
) -> ChatModel:
    """Load the model that the request names, and tell how far that is.

    `is_shared` is of a small model whose engine several conversations share: that of a large one
    always is.

    Raises:
        ModelUnavailable: it cannot be had.
    """
    if request.config.engine.url:
        return _served_chat(request, news)
    from inference.local import open_chat  # a server needs nothing of it

    # nano reads a prompt in the time that a process takes to start, or a file to be written.
    is_small = request.model == NANO
    is_shared = is_shared or request.num_together > 1
    source, how = resolve(request.model), request.config.model
    disk_bytes = 0 if is_small else request.config.cache.disk_bytes
    settings = EngineSettings(
        source,
        weights=how.weights,
        kv=how.kv,
        state=how.state,
        stall_s=how.stall_s,
        fast_kernels=how.fast_kernels,
        speculation=how.speculation,
        store_folder=str(snapshots_folder()) if disk_bytes else "",
        store_bytes=disk_bytes,
    )
    offer = None if is_small else plan_of(source, how)
    chat = open_chat(
        settings,
        offer=offer,
        shortage=None if is_small else shortage_of(source, how, offer),
        window=how.context or None,
        reuse=request.reuse,
        thinking_history=how.thinking_history,
        holds_calls=how.grammar,
        host=is_shared or not is_small,
        on_progress=news.note if news else None,
    )
    if news is not None:
        news.plan = f"{chat.weights}, {window_words(chat.context_tokens)}"
    return chat


def for_all_at_once(chat: ChatModel, request: FixRequest) -> Sequence[ChatModel]:
    """Return a loaded model as often as attempts are made at once, each for a thread of its own.

    They are fewer where there is no memory for all.

    Raises:
        ModelUnavailable: it cannot be had so often.
    """
    num = request.num_together
    if num == 1:
        return [chat]
    if request.config.engine.url:
        return [chat, *(_served_chat(request, None) for _ in range(1, num))]
    from inference.lines import lines_of
    from inference.local import LocalChat

    assert isinstance(chat, LocalChat), "the engine inside"
    return lines_of(chat, num)


def _served_chat(request: FixRequest, news: LoadNews | None) -> ChatModel:
    """Return the model of a server, which has it loaded; raises as `load_chat`."""
    from inference.remote import open_remote

    settings = settings_of(request.config.engine)
    chat = open_remote(settings, request.model, request.config.model.thinking_history)
    if news is not None:
        news.plan = f"at {settings.url}, {window_words(chat.context_tokens)}"
    return chat
