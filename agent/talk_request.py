"""What a talk is opened with; it comes from a front end, or from the journal on resume."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.engine import is_address, with_engine
from agent.request import FixRequest, SandboxLevel
from agent.settings import ApprovalMode, Config, Effort, FixConfig


@dataclass(frozen=True)
class TalkRequest:
    """One talk."""

    path: Path
    """The repository, or any folder in it."""
    model: str = "auto"
    """`auto`, `nano`, a folder or a hub id."""
    mode: ApprovalMode = "ask"
    """What runs without asking, to begin with."""
    test_command: tuple[str, ...] = ()
    """How the tests are run; empty to find out."""
    python: Path | None = None
    """The interpreter for the tests; None to find the project's own."""
    sandbox: SandboxLevel = "bubblewrap"
    attempts: int = 1
    """How many attempts a prompt may take; with more than one they are made on copies."""
    folders: tuple[Path, ...] = ()
    """Further folders that may be read, as `further_folders` gives them."""
    config: Config = field(default_factory=Config)

    def as_fix(self, issue: str = "", attempts: int = 1) -> FixRequest:
        """Return what a run on the same repository, with the same model, is asked to do.

        The talk has the model once, so attempts are made one after the other.
        """
        approval = replace(self.config.approval, mode="auto")
        return FixRequest(
            self.path,
            issue=issue,
            test_command=self.test_command,
            model=self.model,
            attempts=attempts,
            python=self.python,
            sandbox=self.sandbox,
            config=replace(self.config, approval=approval, fix=FixConfig()),
        )

    def answered_by(self, name: str) -> "TalkRequest":
        """Return one that a model answers; the address of a server is that of its only one.

        Raises:
            UsageError: it is no address.
        """
        if not is_address(name):
            return replace(self, model=name)
        config = with_engine(self.config, name)
        return replace(self, model=config.engine.model, config=config)

    def thinking(self, effort: Effort) -> "TalkRequest":
        """Return one whose replies have this much thought."""
        model = replace(self.config.model, thinking=effort)
        return replace(self, config=replace(self.config, model=model))

    def as_chosen(self, record: Mapping[str, Any]) -> "TalkRequest":
        """Return one with what was chosen in the course of a talk, as its journal has it."""
        effort = record.get("thinking", self.config.model.thinking)
        mode, attempts = record.get("mode", self.mode), record.get("attempts", self.attempts)
        folders = tuple(map(Path, record.get("folders", self.folders)))
        return replace(self, mode=mode, attempts=attempts, folders=folders).thinking(effort)

    def to_record(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        python = None if self.python is None else str(self.python)
        folders = [*map(str, self.folders)]
        return {**asdict(self), "path": str(self.path), "python": python, "folders": folders}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "TalkRequest":
        """Undo `to_record`."""
        return cls(
            **{
                **record,
                "path": Path(record["path"]),
                "python": None if record["python"] is None else Path(record["python"]),
                "test_command": tuple(record["test_command"]),
                "folders": tuple(map(Path, record.get("folders", ()))),
                "config": Config.from_record(record["config"]),
            }
        )
