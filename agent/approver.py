"""Decides on the calls of one session: by the settings, by what is remembered, or by asking."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from agent.approval import PLAIN, Answer, Ask, Denied, Effects, answered, decide, refused
from agent.remembered import Remembered
from agent.settings import ApprovalConfig
from inference.messages import ToolCall
from tools.mcp_form import Form, Values

AskPerson = Callable[[Ask], Answer]


class Person(Protocol):
    """Who is talked with, as far as calls are concerned."""

    def ask(self, ask: Ask) -> Answer | None:
        """Let them decide on a call; None if they want the whole turn to stop instead.

        Called in the thread that runs the turn, which waits for it. `ask.preview` is the exact
        command, or a unified diff of the edit.
        """
        ...

    def fill(self, form: Form) -> Values | None:
        """Let them fill in what an MCP server asks for in a call; None if they will not.

        Called in the same thread. What they give goes to that server.
        """
        ...


def nobody_there(ask: Ask) -> Answer:
    """Be the person of a run that nobody watches."""
    return Answer(False, reason="nobody is there to allow it; find another way.", by_nobody=True)


class Approver:
    """Turns a call into the call to run, or into a refusal."""

    def __init__(
        self,
        config: ApprovalConfig,
        ask: AskPerson = nobody_there,
        effects: Effects = PLAIN,
        remembered: Remembered | None = None,
    ) -> None:
        """Take what decides; without `remembered`, for always means for this session."""
        self.config = config
        """May be changed between calls."""
        self._ask = ask
        self._effects = effects
        self._remembered = remembered
        self._kept: set[str] = set()

    def __call__(self, call: ToolCall) -> ToolCall | Denied:
        """Decide, asking where the settings leave it open; on what a person changed, once more.

        Raises:
            OSError: an answer for always cannot be written down.
        """
        known = self._kept.union(self._remembered or ())
        decision = decide(call, self.config, self._effects, known)
        if isinstance(decision, Denied):
            return decision
        if not isinstance(decision, Ask):
            return call
        answer = self._ask(decision)
        if answer.allowed and answer.arguments is not None:
            return self(replace(call, arguments=dict(answer.arguments)))
        if answer.always:
            self._keep(decision.key if answer.allowed else refused(decision.key))
        return answered(decision, answer)

    def _keep(self, key: str) -> None:
        self._kept.add(key)
        if self._remembered is not None:
            self._remembered.add(key)
