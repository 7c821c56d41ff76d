"""What one run of `fix` is asked to do; it comes from arguments, or from the journal on resume."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from agent.settings import Config

SandboxLevel = Literal["bubblewrap", "direct"]


@dataclass(frozen=True)
class FixRequest:
    """One run of `fix`."""

    path: Path
    """The repository, or any folder in it."""
    issue: str = ""
    """What a person reports, in their words."""
    images: tuple[Path, ...] = ()
    """Pictures of what is wrong."""
    test_command: tuple[str, ...] = ()
    """How the tests are run; empty to find out."""
    tests: tuple[str, ...] = ()
    """Ids of the tests to mend; empty for all that are red."""
    model: str = "auto"
    """`auto`, `nano`, a folder or a hub id."""
    attempts: int = 1
    """The most attempts; later ones are sampled, and the first green one ends the run."""
    temperature: float | None = None
    """What every attempt is sampled at; None for the model's preset, and warmer after the first."""
    seed: int = 0
    """Of the sampled attempts: attempt i draws with seed + i."""
    python: Path | None = None
    """The interpreter for the tests; None to find the project's own."""
    dry_run: bool = False
    """Judge the repair but leave the repository as it is."""
    reuse: bool = True
    """False to prefill the whole conversation for every reply, for comparison."""
    sandbox: SandboxLevel = "bubblewrap"
    """`direct` is no isolation at all."""
    patch: Path | None = None
    """Where to write the patch besides the session folder."""
    base: str = ""
    """A commit: only red tests that are green there are to be mended; empty for all."""
    commit: bool = False
    """Commit the repair on the current branch."""
    branch: str = ""
    """Commit it on a new branch of this name instead, and leave the files as they are."""
    mcp: bool = False
    """Use the MCP servers of the user's settings, as far as they were allowed for always."""
    config: Config = field(default_factory=Config)

    @property
    def num_together(self) -> int:
        """How many attempts are made at once."""
        return min(self.config.fix.together, self.attempts)

    def to_record(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        record = asdict(self)
        for key in ("path", "python", "patch"):
            record[key] = None if record[key] is None else str(record[key])
        record["images"] = [str(path) for path in self.images]
        return record

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "FixRequest":
        """Undo `to_record`."""
        values = dict(record)
        for key in ("python", "patch"):
            values[key] = None if values[key] is None else Path(values[key])
        for key in ("test_command", "tests"):
            values[key] = tuple(values[key])
        values["path"] = Path(values["path"])
        values["images"] = tuple(Path(image) for image in values.get("images", ()))
        values["config"] = Config.from_record(values["config"])
        return cls(**values)
