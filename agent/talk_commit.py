"""What of a talk goes into a commit of the person's: the files that the model changed, no others.

Such a file goes in as it is now: what the person mended in it after the model is part of the work.
One that held work of theirs before the model came to it is refused, since its commit would hold
what nobody asked to be committed.
"""

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.aside import ask_aside
from agent.errors import GitFailed, NotApplied, UsageError
from agent.events import Event
from agent.journal import Record, read
from agent.message_records import message_of
from agent.models import NANO
from agent.notes import is_prompt
from agent.session import JOURNAL, Session
from agent.turn import Turn
from agent.user_commit import (
    Work,
    files_of_commit,
    generated_by,
    is_committed,
    make_commit,
    worded,
)
from agent.user_git import hooks_of, identity, run_git
from agent.wording import prompt
from sandbox.checkpoint import Checkpoint

UNDER_WAY = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
}
"""What git leaves in its folder while it waits for a person, and what it then is in."""
MAX_NAMED = 3
MAX_ASKED = 40
"""Files that the model is reminded of when it is asked for the message."""
MAX_TOKENS = 300
"""Of the message that the model writes."""

Step = tuple[str, str]
"""The checkpoints before and after something that the model did."""


@dataclass(frozen=True)
class Draft:
    """A commit as a person is shown it before it is made."""

    paths: tuple[str, ...]
    words: str
    """The message that is proposed."""
    hooks: tuple[str, ...]
    """Hooks of the repository that would look at a commit, and will not at this one."""


def model_steps(records: Iterable[Record]) -> Iterator[Step]:
    """Yield what the model changed; what is other when a prompt comes, the person changed."""
    tree = ""
    for record in records:
        before, tree = tree, record.get("tree", tree)
        if tree == before or record["type"] != "message":
            continue
        if not is_prompt(message_of(record["message"])):
            yield before, tree


def work_of(session: Session, repository: Path, checkpoint: Checkpoint) -> Work:
    """Return what there is to commit of a talk, with the files as they are now.

    Raises:
        UsageError: nothing.
        NotApplied: a file held work of the person's before the model changed it, or git is in the
            middle of something.
        GitFailed: there is no commit to build on.
    """
    _check_quiet(repository)
    try:
        run_git(repository, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    except GitFailed as error:
        raise NotApplied("there is no commit to build on yet; make the first one") from error
    steps = [*model_steps(read(session.folder / JOURNAL))]
    work = _chosen(repository, checkpoint, steps, checkpoint.save("before a commit"))
    if not work.bases:
        raise UsageError("the model has changed nothing that is not committed")
    return work


def draft(turn: Turn, work: Work, repository: Path) -> Generator[Event, None, Draft]:
    """Have the model propose a message; nano, which has no words for that, is not asked.

    Raises:
        Cancelled: the person stopped it.
        InferenceError: there is no room for the question, or no engine.
    """
    paths, chat, said = tuple(work.bases), turn.parts.chat, ""
    if chat.name != NANO:
        question = prompt("commit", paths=", ".join(paths[:MAX_ASKED]))
        said = yield from ask_aside(turn, turn.session.messages, question, MAX_TOKENS)
    words = worded(without_fence(said), plain_words(paths))
    return Draft(paths, f"{words}\n\n{generated_by(chat.name)}", hooks_of(repository))


def commit(repository: Path, work: Work, words: str) -> str:
    """Commit work as the person, on top of what is checked out; return the commit's id.

    Raises:
        NotApplied: something of it is staged otherwise, or the repository takes no commit.
        GitFailed: it is not known who the person is.
    """
    made = make_commit(repository, work, "", words, identity(repository))
    made.put_on("")
    return made.id


def _chosen(repository: Path, checkpoint: Checkpoint, steps: Sequence[Step], final: str) -> Work:
    committed = files_of_commit(repository, "HEAD")
    changes: defaultdict[str, list[Step]] = defaultdict(list)
    for before, after in steps:
        for path in checkpoint.changed(before, after):
            changes[path].append((before, after))

    def is_as_committed(tree: str, path: str) -> bool:
        return is_committed(checkpoint.file(tree, path), committed.get(path))

    bases: dict[str, str] = {}
    for path, found in sorted(changes.items()):
        known = [before for before, _ in found if is_as_committed(before, path)]
        if known:
            bases[path] = known[-1]
        elif not (is_as_committed(found[-1][1], path) or is_as_committed(final, path)):
            raise NotApplied(
                f"{path} had changes of yours before the model changed it; commit those first"
            )
    changed = {base: checkpoint.changed(base, final) for base in set(bases.values())}
    return Work(checkpoint, {p: base for p, base in bases.items() if p in changed[base]}, final)


def _check_quiet(repository: Path) -> None:
    for name, what in UNDER_WAY.items():
        found = run_git(repository, "rev-parse", "--git-path", name).decode().rstrip("\n")
        if (repository / found).exists():
            raise NotApplied(f"git is in the middle of {what} here; finish or abort it first")


def plain_words(paths: Sequence[str]) -> str:
    """Say what a commit changes, where nobody else does."""
    named = ", ".join(path.rpartition("/")[2] for path in paths[:MAX_NAMED])
    more = len(paths) - MAX_NAMED
    return f"Change {named} and {more} more" if more > 0 else f"Change {named}"


def without_fence(text: str) -> str:
    """Take away what models like to put around an answer."""
    lines = [line for line in text.strip().split("\n") if not line.startswith("```")]
    return "\n".join(lines).strip().strip('"`')
