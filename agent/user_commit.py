"""The model's work as a commit of the user's repository, made only when it was asked for.

The tree is that of HEAD with the files of the work in it and nothing else: what the user has
changed or staged besides is not committed, and stays as it is. A file of it that the user had
changed too is refused, since its commit would hold work that nobody asked to be committed.
"""

import os
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from agent.errors import GitFailed, NotApplied, UsageError
from agent.request import FixRequest
from agent.session import Session
from agent.user_git import run_git
from inference.messages import ToolCall
from sandbox.checkpoint import Checkpoint
from tools.finish import Finish
from tools.git_files import blob_id, is_blob_of, with_unix_ends
from tools.readable import readable

MAX_SUBJECT = 72
BODY_WIDTH = 72
NO_BLOB = "0" * 40
"""Of an index entry that goes."""
UPDATE_INDEX = ("update-index", "-z", "--index-info")


@dataclass(frozen=True)
class Entry:
    """A file in a commit or an index."""

    mode: str
    blob: str


def check_commit(request: FixRequest, repository: Path) -> None:
    """Make sure that a commit could be made, if one is asked for, before anything slow is done.

    Raises:
        UsageError: it could not.
    """
    if not (request.commit or request.branch):
        return
    flag = "--branch" if request.branch else "--commit"
    if request.dry_run:
        raise UsageError(f"{flag} changes the repository and --dry-run does not; leave one out")
    try:
        run_git(repository, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    except GitFailed as error:
        raise UsageError(f"{flag}: {repository} has no commit to build on") from error
    if request.branch:
        _check_branch(repository, request.branch)
    elif fault := _lock(repository):
        raise UsageError(f"--commit: {fault}")


def _lock(repository: Path) -> str:
    """Say what keeps the index from being written; nothing if it can be."""
    name = run_git(repository, "rev-parse", "--git-path", "index.lock").rstrip(b"\n")
    lock = repository / os.fsdecode(name)
    if not lock.exists():
        return ""
    return f"{lock} is there; when no git is at work, one was killed: remove that file"


def _check_branch(repository: Path, name: str) -> None:
    nameless = f"--branch {name}: no branch can be called that"
    try:
        meant = run_git(repository, "check-ref-format", "--branch", name)
    except GitFailed as error:
        raise UsageError(nameless) from error
    if os.fsdecode(meant).rstrip("\n") != name:  # `@{-1}` is the branch before
        raise UsageError(nameless)
    ref = f"refs/heads/{name}"
    # A branch is a file, so none can be a folder of others.
    above = [f"refs/heads/{folder}" for folder in PurePosixPath(name).parents if folder.parts]
    names = ("for-each-ref", "--format=%(refname)", ref, f"{ref}/**", *above)
    if found := run_git(repository, *names).decode(errors="replace").split("\n")[0]:
        there = found.removeprefix("refs/heads/")
        raise UsageError(f"--branch {name}: there is a branch {there} already; name another")


@dataclass(frozen=True)
class UserCommit:
    """A commit that is in the repository, but on no branch yet."""

    repository: Path
    id: str
    parent: str
    index_info: bytes
    """The files of the repair as `git update-index --index-info` reads them."""

    def put_on(self, branch: str) -> None:
        """Let a new branch begin with it, or the current one go on with it if none is named.

        In the second case the index gets the files of the repair, and no others.

        Raises:
            NotApplied: the branch is not what it was when the commit was made.
        """
        ref, old = (f"refs/heads/{branch}", "") if branch else ("HEAD", self.parent)
        try:
            self._move(ref, self.id, old)
            if not branch:
                self._update_index(ref)
        except GitFailed as error:
            problem = f"commit {self.id} was made, but not put in its place: {error}"
            raise NotApplied(problem) from error

    def _update_index(self, ref: str) -> None:
        try:
            run_git(self.repository, *UPDATE_INDEX, stdin=self.index_info)
        except GitFailed:
            self._move(ref, self.parent, self.id)  # both, or neither
            raise

    def _move(self, ref: str, new: str, old: str) -> None:
        run_git(self.repository, "update-ref", "-m", "qwen-agent", ref, new, old)


@dataclass(frozen=True)
class Work:
    """Files as a commit is to have them."""

    checkpoint: Checkpoint
    bases: Mapping[str, str]
    """Each of the files, and a checkpoint in which it was as HEAD has it."""
    final: str
    """The checkpoint in which they are as they are to be."""


def make_commit(
    repository: Path,
    work: Work,
    branch: str,
    words: str,
    author: Mapping[str, str] | None = None,
) -> UserCommit:
    """Store work on top of HEAD, for `put_on` the branch; no branch or file changes.

    `author` is `user_git.identity`; without it the author is this program.

    Raises:
        NotApplied: the user has changed one of the files, or the repository takes no commit.
    """
    try:
        if not branch and (fault := _lock(repository)):
            raise NotApplied(fault)
        parent = run_git(repository, "rev-parse", "--verify", "HEAD^{commit}").decode().strip()
        committed = files_of_commit(repository, parent)
        staged = _entries(run_git(repository, "ls-files", "--stage", "-z"))
        lines = []
        for path in work.bases:
            old = committed.get(path)
            entry = _stored(repository, work, path, old)
            staged_as_work = None if entry.blob == NO_BLOB else entry
            if not branch and staged.get(path) not in (old, staged_as_work):
                raise NotApplied(f"{path} has changes of yours that are staged; commit them first")
            lines.append(f"{entry.mode} {entry.blob}\t".encode() + os.fsencode(path) + b"\0")
        info = b"".join(lines)
        commit = _commit(repository, parent, info, words, author or {})
    except GitFailed as error:
        raise NotApplied(f"the work could not be committed: {error}") from error
    return UserCommit(repository, commit, parent, info)


def files_of_commit(repository: Path, commit: str) -> Mapping[str, Entry]:
    """Return the files of a commit of the user's.

    Raises:
        GitFailed: there is no such commit.
    """
    return _entries(run_git(repository, "ls-tree", "-r", "-z", commit))


def is_committed(data: bytes | None, entry: Entry | None) -> bool:
    """Say whether a file is as a commit has it, but for the line ends of a working tree."""
    if data is None or entry is None:
        return data is None and entry is None
    return is_blob_of(data, entry.blob)


def _stored(repository: Path, work: Work, path: str, old: Entry | None) -> Entry:
    """Store one file as the work has it; the line ends of the last commit are kept."""
    checkpoint, base = work.checkpoint, work.bases[path]
    before, after = checkpoint.file(base, path), checkpoint.file(work.final, path)
    if not is_committed(before, old):
        raise NotApplied(f"{path} has changes of yours that are not committed; commit them first")
    if after is None:
        return Entry("0", NO_BLOB)
    was, now = checkpoint.entry(base, path), checkpoint.entry(work.final, path)
    assert now is not None, "a file with content has an entry"
    mode = old.mode if old and was and was.mode == now.mode else now.mode
    to_unix = before is not None and old is not None and old.blob != blob_id(before, old.blob)
    return Entry(mode, _write_blob(repository, with_unix_ends(after) if to_unix else after))


def _commit(
    repository: Path, parent: str, info: bytes, words: str, author: Mapping[str, str]
) -> str:
    with TemporaryDirectory(prefix="qwen-agent-") as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        run_git(repository, "read-tree", parent, more=index)
        run_git(repository, *UPDATE_INDEX, stdin=info, more=index)
        tree = run_git(repository, "write-tree", more=index).decode().strip()
    message = words.encode("utf-8", "replace")
    commit_tree = ("commit-tree", tree, "-p", parent, "-F", "-")
    answer = run_git(repository, *commit_tree, stdin=message, more=author)
    return answer.decode().strip()


def _write_blob(repository: Path, data: bytes) -> str:
    words = ("hash-object", "-w", "--no-filters", "--stdin")
    return run_git(repository, *words, stdin=data).decode().strip()


def _entries(listing: bytes) -> dict[str, Entry]:
    """Read the rows of `ls-tree` and `ls-files --stage`; of a conflict none of its stages."""
    entries: dict[str, Entry] = {}
    for row in listing.split(b"\0")[:-1]:
        about, _, name = row.partition(b"\t")
        mode, second, third = about.decode().split(" ")
        blob = third if second in ("blob", "commit", "tree") else second
        entries[os.fsdecode(name)] = Entry(mode, blob)
    return entries


def summary_of(session: Session) -> str:
    """Return what the model said of its work when it finished; nothing if it did not."""
    calls = (call for message in reversed(session.messages) for call in message.tool_calls)
    done = (call for call in calls if isinstance(call, ToolCall) and call.name == Finish.name)
    return next((str(call.arguments.get("summary", "")) for call in done), "")


def message_of(summary: str, sentence: str, model: str, test_command: str) -> str:
    """Word a commit: what the model says it did, then what was found out about it by us."""
    found = textwrap.fill(_one_line(sentence), BODY_WIDTH)
    trailers = f"{generated_by(model)}\nVerified-with: {_one_line(test_command)}"
    said = worded(summary, "Repair what the tests complain of")
    return f"{said}\n\n{found}\n\n{trailers}\n"


def worded(summary: str, fallback: str) -> str:
    """Lay out what a model says as the subject and the body of a commit."""
    lines = [line.rstrip() for line in readable(summary).strip().split("\n")]
    subject, *more = textwrap.wrap(lines[0], MAX_SUBJECT) or [fallback]
    body = [*more, *lines[1:]]
    wrapped = "\n".join(textwrap.fill(line, BODY_WIDTH) if line else "" for line in body).strip()
    return f"{subject}\n\n{wrapped}" if wrapped else subject


def generated_by(model: str) -> str:
    """Return the trailer that says who wrote the work."""
    return f"Generated-by: qwen-agent ({_one_line(model)})"


def _one_line(text: str) -> str:
    return " ".join(readable(text).split())
