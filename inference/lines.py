"""One model for several conversations at the same time, each in a thread of its own.

Each is a front end of the engine's process: what one of them has read the others find, and a token
of each is read in one forward where that is sooner (`host_worker.py`). It writes no token itself.
"""

from inference.host_client import HostEngine
from inference.local import LocalChat
from inference.plan import Plan
from inference.planner import TYPICAL_WINDOW


def lines_of(chat: LocalChat, wanted: int) -> list[LocalChat]:
    """Return `chat` and as many more that `wanted` can go on at once; fewer where memory is short.

    The window of each is so long that the engine has room for all of them.

    Raises:
        ModelUnavailable: the engine has ended, and cannot be started again.
    """
    engine = chat.engine
    assert isinstance(engine, HostEngine), "an engine of this process is for one thread"
    num, window = fitting(engine.plan, wanted, chat.context_tokens)
    chat.window = window
    return [chat, *(chat.beside(engine.another()) for _ in range(1, num))]


def fitting(plan: Plan | None, wanted: int, window: int) -> tuple[int, int]:
    """Return how many lines there is memory for, up to `wanted`, and the window of each.

    With less than a typical window a conversation is put in short form again and again: fewer at
    once are better. Of a model so small that nobody has planned it there is always room.
    """
    if plan is None:
        return wanted, window
    for num in range(wanted, 1, -1):
        if plan.window_of(num) >= min(TYPICAL_WINDOW, window):
            return num, min(plan.window_of(num), window)
    return 1, window
