"""What is typed and not sent: when the model is given it to read."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from agent.frontends.repl.drafts import Drafts
from agent.frontends.repl.repl import Repl


@dataclass
class Typist:
    """Stands where a session does: what is typed in it, and what its talk is given to read."""

    root: Path
    text: str = ""
    is_busy: bool = False
    is_asking: bool = False
    given: list[str] = field(default_factory=list)

    @property
    def prompt(self) -> "Typist":
        return self

    @property
    def launch(self) -> "Typist":
        return self

    @property
    def talk(self) -> "Typist":
        return self

    def typed(self) -> str:
        return self.text

    def read_ahead(self, draft: str) -> None:
        self.given.append(draft)


def test_a_draft_is_given_when_it_rests_and_a_command_never(tmp_path: Path) -> None:
    (tmp_path / "cart.py").write_text("")
    typist = Typist(tmp_path)
    drafts = Drafts(cast(Repl, typist))
    looks = [
        "",
        "See @cart.py",
        "See @cart.py and",
        "See @cart.py and",
        "/model",
        "/model",
        "!ls",
        "!ls",
    ]
    for typist.text in looks:
        drafts.look()
    assert typist.given == ["", "", "", "See cart.py and", "", "", "", ""]


def test_nothing_is_given_while_the_session_is_busy_or_asks(tmp_path: Path) -> None:
    typist = Typist(tmp_path, "See", is_busy=True)
    drafts = Drafts(cast(Repl, typist))
    drafts.look()
    typist.is_busy, typist.is_asking = False, True
    drafts.look()
    assert typist.given == []
