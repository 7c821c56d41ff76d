"""What the model is told beside a prompt: what is true now and was not when it was told last.

It goes at the end of the newest message, so that nothing earlier changes and all of it is reused.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from agent.settings import ApprovalMode
from agent.wording import prompt
from sandbox.base import CommandResult
from tools.truncate import clean, cut_middle

MAX_OUTPUT = 4_000
"""Characters of the output of a command that the person ran."""
MAX_PATHS = 10
BRANCH = "ref: refs/heads/"
PLAN = "Plan mode: nothing may be changed now. Read, then say what you would do."
CHANGES = "Changes are allowed."
FURTHER = "Beside the repository you may read, and not change: "
_START, _END = prompt("beside", text="\0", facts="\0").split("\0")[1:]


class Told:
    """Remembers what was said, for one conversation."""

    def __init__(self, repository: Path, folders: Sequence[Path] = ()) -> None:
        self._repository = repository
        self._folders = ", ".join(map(str, folders))
        self._notes: list[str] = []
        self.forget()

    def forget(self) -> None:
        """Tell everything again: the conversation may no longer hold it."""
        self._said = {"mode": CHANGES}

    def note(self, words: str) -> None:
        """Tell something with the next prompt, once."""
        self._notes.append(words)

    def ran(self, command: str, result: CommandResult) -> None:
        """Tell of a command that the person ran."""
        output = cut_middle(clean(result.output).strip("\n"), MAX_OUTPUT)
        code = "stopped" if result.exit_code is None else f"exit code {result.exit_code}"
        self.note(f"The user ran `{command}` ({code}):\n{output}".rstrip())

    def edited(self, paths: Sequence[str]) -> None:
        """Tell of files that the person changed."""
        if paths:
            more = f" and {len(paths) - MAX_PATHS} more" if len(paths) > MAX_PATHS else ""
            self.note(f"Changed meanwhile, not by you: {', '.join(paths[:MAX_PATHS])}{more}.")

    def beside(self, text: str, mode: ApprovalMode, more: str = "") -> str:
        """Return a prompt with what is to be told with it; `more` stands at the end."""
        branch = git_branch(self._repository)
        now = {
            "date": time.strftime("Today is %Y-%m-%d."),
            "branch": f"Git branch: {branch}." if branch else "",
            "folders": f"{FURTHER}{self._folders}." if self._folders else "",
            "mode": PLAN if mode == "plan" else CHANGES,
        }
        news = [fact for key, fact in now.items() if fact and fact != self._said.get(key)]
        notes, self._notes = self._notes, []
        self._said = now
        facts = "\n".join([*news, *notes, *([more] if more else [])])
        return prompt("beside", text=text, facts=facts) if facts else text


def typed_text(content: str) -> str:
    """Return what the person typed of a prompt."""
    text, start, _ = content.rpartition(_START)
    return text if start and content.endswith(_END) else content


def git_branch(repository: Path) -> str:
    """Return the branch that is checked out; nothing if none is. Git is not run."""
    head = git_head(repository)
    return head.removeprefix(BRANCH) if head.startswith(BRANCH) else ""


def git_head(repository: Path) -> str:
    """Return what HEAD of a repository holds: the name of a branch, or a commit."""
    git = repository / ".git"
    with suppress(OSError, UnicodeDecodeError):
        if git.is_file():  # a worktree or a submodule
            git = repository / git.read_text().removeprefix("gitdir:").strip()
        return (git / "HEAD").read_text().strip()
    return ""
