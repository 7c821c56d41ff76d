"""Where a talk stands, in figures: what a status line shows."""

from dataclasses import dataclass
from pathlib import Path

from agent.context import num_tokens
from agent.events import ModelProgress
from agent.read_ahead import ReadAhead
from agent.session import Session
from agent.settings import ApprovalMode
from agent.talk_bench import TalkBench
from agent.told import BRANCH, git_head
from inference.messages import Prefill

SHORT_COMMIT = 8


@dataclass(frozen=True)
class Status:
    """One moment; a zero or an empty text is not known yet."""

    model: str
    """As it is called; as it was asked for until it is loaded."""
    is_loaded: bool
    plan: str
    """How it is run, in a few words: its weights and its window."""
    progress: ModelProgress | None
    """How far it is, while it loads."""
    fault: str
    """Why it cannot be had, in a sentence."""
    mode: ApprovalMode
    sandbox: str
    branch: str
    """Of the person's git; where none is checked out, `at` and the beginning of the commit."""
    num_context: int
    """Tokens of the conversation."""
    context_tokens: int
    """The window."""
    num_reused: int
    """Tokens before the last reply that were not read again for it."""
    num_prefilled: int
    """Those that were."""
    tokens_per_s: float
    """How fast the last reply was written."""
    acceptance: float = 0.0
    """Of the tokens that were guessed for it, the share that came true."""
    num_ahead: int = 0
    """Tokens that were read before anybody asked, which no reply counts."""
    ahead_s: float = 0.0
    """How long that took."""
    reading: Prefill | None = None
    """How far it is with what it reads now, while nobody asks."""


class Gauge:
    """Reads the status of one talk; remembers the count that takes longest."""

    def __init__(self, session: Session, bench: TalkBench, ahead: ReadAhead) -> None:
        self._session = session
        self._ahead = ahead
        self._bench = bench
        self._counted: tuple[tuple[int, ...], int] = ((), 0)

    def read(self) -> Status:
        """Say how things are now, from any thread."""
        loading, around = self._bench.loading, self._bench.around
        chat = loading.chat
        last = self._session.usages[-1] if self._session.usages else None
        return Status(
            model=chat.name if chat else loading.name,
            is_loaded=chat is not None,
            plan=loading.news.plan,
            progress=None if loading.is_done else loading.news.progress,
            fault=loading.fault,
            mode=self._bench.mode,
            sandbox=around.sandbox.level,
            branch=_checked_out(around.repository),
            num_context=self._num_context(),
            context_tokens=chat.context_tokens if chat else 0,
            num_reused=last.num_reused if last else 0,
            num_prefilled=last.num_prefilled if last else 0,
            tokens_per_s=last.num_generated / last.decode_s if last and last.decode_s else 0.0,
            acceptance=last.num_accepted / last.num_drafted if last and last.num_drafted else 0.0,
            num_ahead=self._ahead.num_read,
            ahead_s=self._ahead.read_s,
            reading=self._ahead.progress,
        )

    def _num_context(self) -> int:
        """Count the tokens of the conversation, again when it has changed."""
        chat, session = self._bench.loading.chat, self._session
        state = (len(session.messages), *session.measured)
        if chat is not None and self._counted[0] != state:
            self._counted = (state, num_tokens(session, chat.count_tokens))
        return self._counted[1]


def _checked_out(repository: Path) -> str:
    head = git_head(repository)
    if head.startswith(BRANCH):
        return head.removeprefix(BRANCH)
    return f"at {head[:SHORT_COMMIT]}" if head else ""
