"""`/sessions`: the earlier talks about this repository, the newest first."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.frontends.cache import age_in_words
from agent.frontends.repl.host import Host
from agent.frontends.repl.paint import Painter
from agent.frontends.repl.text import fit, harmless
from agent.frontends.repl.worker import Printed
from agent.session import JOURNAL
from sandbox.base import Cancel

if TYPE_CHECKING:
    from agent.sessions import SessionInfo

MAX_LISTED = 50
HEADER = f"  {'talk':<24}{'last used':<15}first words"
MORE = "/resume goes on with one; `qwen-agent sessions list` has those of all repositories."
NONE = "There is no other talk about this repository."


def sessions(host: Host, _words: str) -> None:
    """List them, also while a turn runs."""

    def steps(_cancel: Cancel) -> Iterator[Printed]:
        found = earlier_talks(host)
        yield Printed(lambda painter: _drawn(painter, found))

    host.do_aside(steps, "listing")


def earlier_talks(host: Host) -> "list[SessionInfo]":
    """Return the talks about this repository that are not open here, the newest first."""
    from agent.sessions import list_sessions

    here, root = {talk.id for talk in host.talks}, str(host.launch.root)
    return [
        info
        for info in list_sessions(host.launch.state)
        if info.kind == "talk" and info.repository == root and info.id not in here
    ]


def last_used(info: "SessionInfo") -> str:
    """Say how long ago something was said in it."""
    try:
        used_s = (info.folder / JOURNAL).stat().st_mtime
    except OSError:  # removed meanwhile
        return "gone"
    return age_in_words(max(0.0, time.time() - used_s))


def _drawn(painter: Painter, found: "list[SessionInfo]") -> str:
    dim = painter.theme.dim
    if not found:
        return painter.line((dim, NONE))
    lines = [painter.line(("bold", HEADER))]
    for info in found[:MAX_LISTED]:
        row = f"  {info.id:<24}{last_used(info):<15}{info.title}"
        lines.append(painter.line(("", fit(harmless(row), painter.width))))
    if len(found) > MAX_LISTED:
        lines.append(painter.line((dim, f"  and {len(found) - MAX_LISTED} more")))
    return "".join([*lines, painter.line((dim, MORE))])
