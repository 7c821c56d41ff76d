"""An earlier talk to go on with: what is not typed with it stays as it was."""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.settings import ApprovalMode

if TYPE_CHECKING:
    from agent.approver import Person
    from agent.compose import ChatFactory
    from agent.conversation import Conversation


@dataclass(frozen=True)
class Resuming:
    """What was typed after `--resume`, and beside it."""

    name: str
    """Empty for the last talk about the repository."""
    mode: ApprovalMode | None = None
    model: str | None = None
    engine: str | None = None

    @classmethod
    def of(cls, arguments: Namespace) -> "Resuming | None":
        """Read arguments; None if a new talk is meant."""
        if arguments.resume is None:
            return None
        return cls(arguments.resume, arguments.mode, arguments.model, arguments.engine)

    def open(
        self, person: "Person", path: Path, chat_factory: "ChatFactory | None"
    ) -> "Conversation":
        """Open it; raises as `resume_conversation` does, and ModelUnavailable."""
        from agent.config import config_file
        from agent.mcp_config import load_servers
        from agent.open_talk import resume_conversation

        servers = load_servers(config_file())
        talk = resume_conversation(
            self.name, person, path, chat_factory, servers=servers, engine=self.engine
        )
        if self.mode is not None:
            talk.set_mode(self.mode)
        if self.model is not None:
            talk.set_model(self.model)
        return talk
