"""The repository as part of the prompt: its files as sections of the system message.

Git says which files there are and when they changed, `packable.py` which of them may be shown,
`stability.py` which fit and in what order; here they are read and written as the model sees them.
The choice is remembered for each repository, so that the next session begins with the same text.
"""

import hashlib
import json
import stat
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.errors import SessionError
from agent.packable import MAX_FILE_BYTES, may_be_opened, rank, text_of
from agent.patch import write_whole
from agent.stability import Block, Candidate, Entry, Form, choose
from agent.wording import prompt
from inference.prefix import num_common
from sandbox.errors import SandboxError
from sandbox.workspace import Workspace
from tools.file_outline import outline_file
from tools.git_files import GitFile

CountTokens = Callable[[str], int]
FORMAT = 1
"""Of the file that remembers a choice; another number is read as no choice."""


@dataclass(frozen=True)
class RepositoryContext:
    """What the model is told of a repository before it is asked anything."""

    sections: tuple[str, ...]
    """The words about it, then one section a file; none if no file fits."""
    num_tokens: int
    num_whole: int
    num_outlines: int
    num_left_out: int
    """Files that could have been shown, had there been room."""
    num_kept: int
    """Files at the front that are as they were the last time, if there was one."""
    entries: tuple[Entry, ...]
    """What to remember."""

    def __str__(self) -> str:
        words = f"{self.num_whole} files whole, {self.num_outlines} as outlines"
        left = f"{self.num_left_out} left out; {self.num_tokens:,} tokens"
        kept = f", the first {self.num_kept} files as in the last session" if self.num_kept else ""
        return f"{words}, {left}{kept}"


def pack_repository(
    folder: Path,
    files: Sequence[GitFile],
    count_tokens: CountTokens,
    max_tokens: int,
    before: Sequence[Entry] = (),
) -> RepositoryContext:
    """Read the files below `folder` and write those that fit, least recently changed first.

    Args:
        folder: the working tree; nothing is read that lies outside of it.
        files: what git knows of it.
        count_tokens: how long a text is for the model.
        max_tokens: of all sections together.
        before: what was chosen the last time.
    """
    reader = _Reader(folder, count_tokens)
    candidates = [candidate for file in files if (candidate := reader.candidate(file))]
    words = prompt("context") + "\n\n"
    num_words = count_tokens(words)
    blocks = choose(candidates, reader.block, max_tokens - num_words, before)
    entries = tuple(block.entry for block in blocks)
    num_whole = sum(block.form == "whole" for block in blocks)
    num_tokens = num_words + sum(block.num_tokens for block in blocks)
    return RepositoryContext(
        sections=(words, *(block.text for block in blocks)) if blocks else (),
        num_tokens=num_tokens if blocks else 0,
        num_whole=num_whole,
        num_outlines=len(blocks) - num_whole,
        num_left_out=len(candidates) - len(blocks),
        num_kept=num_common(entries, before),
        entries=entries,
    )


def choice_file(state: Path, repository: Path, model: str, max_tokens: int) -> Path:
    """Return where the choice for a repository, a model and a budget is remembered."""
    key = "\0".join((str(repository), model, str(max_tokens)))
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
    return state / "contexts" / f"{digest[:32]}.json"


def read_choice(path: Path) -> tuple[Entry, ...]:
    """Return what was chosen the last time; nothing if that cannot be read: it only costs time."""
    try:
        record = json.loads(path.read_bytes())
        if record["format"] != FORMAT:
            return ()
        return tuple(Entry(**entry) for entry in record["entries"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def write_choice(path: Path, entries: Sequence[Entry]) -> None:
    """Remember a choice, for this user alone.

    Raises:
        SessionError: it cannot be written.
    """
    record = {"format": FORMAT, "entries": [asdict(entry) for entry in entries]}
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SessionError(f"{path.parent} cannot be made: {error.strerror}") from error
    write_whole(path, json.dumps(record).encode(), mode=0o600)


def render(path: str, form: Form, text: str) -> str:
    """Write a file as the model reads it.

    It ends with a newline and begins with a sign, so that its tokens are those it would have in
    the middle of the whole text: a tokenizer of the family never joins the two.
    """
    mark = " outline" if form == "outline" else ""
    return f"<file path={json.dumps(path, ensure_ascii=False)}{mark}>\n{text}</file>\n"


class _Reader:
    """Reads the files of one working tree; remembers the blocks it made of them."""

    def __init__(self, folder: Path, count_tokens: CountTokens) -> None:
        self._folder = folder
        self._workspace = Workspace(folder, folder)
        self._count_tokens = count_tokens
        self._blocks: dict[tuple[str, Form], Block | None] = {}

    def candidate(self, file: GitFile) -> Candidate | None:
        """Return a file as one that may be packed; None if it may not."""
        data = self._data(file.path)
        if data is None or text_of(data) is None:
            return None
        changed_s = file.committed_s if file.is_committed(data) else float("inf")
        return Candidate(file.path, changed_s, rank(file.path))

    def block(self, path: str, form: Form) -> Block | None:
        """Return a file as the model would read it; None if it has no such form."""
        if (path, form) not in self._blocks:
            self._blocks[path, form] = self._made(path, form)
        return self._blocks[path, form]

    def _made(self, path: str, form: Form) -> Block | None:
        data = self._data(path)
        text = None if data is None else text_of(data)
        if text is not None and form == "outline":
            text = outline_file(path, text)
        if text is None:
            return None
        rendered = render(path, form, text)
        return Block(path, form, rendered, self._count_tokens(rendered))

    def _data(self, path: str) -> bytes | None:
        """Read a regular file of a size that people write; links are not followed."""
        if not may_be_opened(path):
            return None
        try:
            status = (self._folder / path).lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
                return None
            return self._workspace.read(f"{self._folder}/{path}")
        except (OSError, SandboxError):  # gone or unreadable: there is nothing to show
            return None
