"""Git as a store: plumbing on one bare repository, with no setting of the user or the workspace.

Through GitPython, but each command is started with an environment made here.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from sandbox.errors import SandboxError
from sandbox.full_disk import full_by_trying, full_by_words
from sandbox.snapshot import USUAL, File, Seen, Snapshot, read_meta, write_meta

NUM_READ_AT_ONCE = 256

ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "qwen-agent",
    "GIT_AUTHOR_EMAIL": "qwen-agent@localhost",
    "GIT_COMMITTER_NAME": "qwen-agent",
    "GIT_COMMITTER_EMAIL": "qwen-agent@localhost",
    "LC_ALL": "C",
    "HOME": "/nonexistent",
}


SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.quotePath": "false",
    "core.protectNTFS": "false",  # a file may be called `git~1`: it is only stored
    "gc.auto": "0",
    "core.filesRefLockTimeout": "10000",  # ms; attempts that are made at once save into one
}
REF = "refs/heads/checkpoints"


class ShadowGit:
    """One repository that only we use."""

    def __init__(self, git_dir: Path) -> None:
        self.git_dir = git_dir

    def create(self) -> None:
        """Make it, with no template: no hook, no exclude file."""
        self.git_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.run("init", "--quiet", "--bare", "--template=", str(self.git_dir))
        for name, value in SETTINGS.items():
            self.run("config", name, value)

    def commit(self, snapshot: Snapshot, label: str) -> str:
        """Store a snapshot whose files are stored; give its commit id."""
        meta = self.run("hash-object", "-w", "--stdin", stdin=write_meta(snapshot)).strip()
        tree = self.store_tree(snapshot)
        entries = b"040000 tree %s\tfiles\n100644 blob %s\tmeta\n" % (tree, meta)
        root = self.run("mktree", stdin=entries).strip().decode()
        parent = self.latest()
        parents = ("-p", parent) if parent else ()
        message = label.encode(errors="replace") + b"\n"
        commit = self.run("commit-tree", root, *parents, stdin=message).strip().decode()
        self.run("update-ref", REF, commit)
        return commit

    def latest(self) -> str | None:
        """Give the last commit, if there is one."""
        found = self.run("for-each-ref", "--format=%(objectname)", REF).strip().decode()
        return found or None

    def load(self, commit: str) -> Snapshot:
        """Read a whole snapshot but for its contents."""
        unusual, folders = read_meta(self.run("cat-file", "blob", f"{commit}:meta"))
        files: dict[str, File] = {}
        for line in self.run("ls-tree", "-r", "-z", f"{commit}:files").split(b"\0")[:-1]:
            about, name = line.split(b"\t", 1)
            mode, _, blob = about.decode().split()
            path = os.fsdecode(name)
            files[path] = File(mode, blob, unusual.get(path, USUAL.get(mode, 0o777)))
        return Snapshot(files, folders)

    def contents(self, paths: list[str], files: Mapping[str, File]) -> Iterator[tuple[str, bytes]]:
        """Read many files of a snapshot with few processes."""
        for start in range(0, len(paths), NUM_READ_AT_ONCE):
            some = paths[start : start + NUM_READ_AT_ONCE]
            wanted = "".join(f"{files[path].blob}\n" for path in some).encode()
            answer = self.run("cat-file", "--batch", stdin=wanted)
            at = 0
            for path in some:
                end = answer.index(b"\n", at)
                size = int(answer[at:end].split()[2])
                yield path, answer[end + 1 : end + 1 + size]
                at = end + 1 + size + 1

    def store_files(self, worktree: Path, paths: list[str], seen: Seen) -> list[str]:
        """Store the files and links at `paths`; give their blob ids in the same order."""
        if not paths:
            return []
        with TemporaryDirectory(dir=self.git_dir) as folder:
            lines = []
            for number, path in enumerate(paths):
                source = worktree / path
                if stat.S_ISLNK(seen.files[path].st_mode):
                    copy = Path(folder, str(number))
                    copy.write_bytes(os.fsencode(source.readlink()))
                    source = copy
                lines.append(_one_line(os.fsencode(source)))
            answer = self.run(
                "hash-object",
                "-w",
                "--no-filters",
                "--stdin-paths",
                stdin=b"\n".join(lines) + b"\n",
            )
        return answer.decode().split()

    def store_tree(self, snapshot: Snapshot) -> bytes:
        """Store the tree of a snapshot; give its id."""
        entries = b"".join(
            b"%s %s\t%s\0" % (file.mode.encode(), file.blob.encode(), os.fsencode(path))
            for path, file in snapshot.files.items()
        )
        with TemporaryDirectory(dir=self.git_dir) as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
            self.run("update-index", "-z", "--index-info", stdin=entries, more=index)
            return self.run("write-tree", more=index).strip()

    def run(
        self, *arguments: str, stdin: bytes = b"", more: Mapping[str, str] | None = None
    ) -> bytes:
        """Run one git command on the shadow repository, with an environment of our own only."""
        try:
            import git  # a third of a second, and `qwen-agent --help` needs no git
        except ImportError as error:
            raise SandboxError("git is not installed; run `apt-get install git`.") from error
        # `env -i`, since GitPython would add to the environment we inherit, GIT_DIR and all.
        variables = {
            **ENVIRONMENT,
            "PATH": os.environ.get("PATH", os.defpath),
            "GIT_DIR": str(self.git_dir),
            **(more or {}),
        }
        words = ["env", "-i", *(f"{name}={value}" for name, value in variables.items())]
        with TemporaryFile() as file:
            file.write(stdin)
            file.seek(0)
            try:
                answer = git.Git(self.git_dir).execute(
                    [*words, "git", *arguments],
                    istream=file,
                    stdout_as_string=False,
                    strip_newline_in_stdout=False,
                    start_new_session=True,  # a Ctrl-C is ours, and this is soon done
                )
            except git.GitCommandError as error:
                complaint = str(error.stderr).strip() or f"git {arguments[0]} failed"
                # Of what it could not write, git does not always say why.
                full = full_by_words(complaint) or full_by_trying(self.git_dir)
                if full is not None:
                    sentence = f"{self.git_dir} cannot be written: {full.strerror}."
                    raise SandboxError(sentence) from full
                raise SandboxError(f"the checkpoint could not be used: {complaint}") from error
        assert isinstance(answer, bytes)
        return answer


def blob_id(data: bytes) -> str:
    """Give the name that git has for these bytes."""
    return hashlib.sha1(b"blob %d\0%b" % (len(data), data), usedforsecurity=False).hexdigest()


def _one_line(path: bytes) -> bytes:
    """Quote a path for `--stdin-paths` if it would not stay on its line."""
    if b"\n" not in path and b"\r" not in path:
        return path
    for character, escape in ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", b"\\n"), (b"\r", b"\\r")):
        path = path.replace(character, escape)
    return b'"' + path + b'"'
