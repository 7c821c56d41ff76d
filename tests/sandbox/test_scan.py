"""What a command leaves behind that could act outside is put aside, told of, and nothing else."""

import time
from pathlib import Path, PurePosixPath

import pytest

from sandbox.base import CommandResult, Sandbox, View
from sandbox.direct import Direct
from sandbox.errors import SandboxError
from sandbox.limits import Limits
from sandbox.scan import MAX_NOTICES, Survey, Watched, _put_aside

SHORT = Limits(wall_s=60)


class Place:
    """A workspace with a watched sandbox; isolation is not what is tested here."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.source, self.aside = folder / "ws", folder / "aside"
        self.source.mkdir()
        self.sandbox = Watched(sandbox, self.aside)

    def run(self, script: str) -> CommandResult:
        return self.sandbox.run(["sh", "-c", script], View(self.source, self.source), SHORT)

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.source)) for path in self.source.rglob("*"))

    def put_aside(self) -> list[str]:
        return sorted(path.name.partition("-")[2] for path in self.aside.iterdir())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, Direct())


def test_a_quiet_command_has_no_notices(place: Place) -> None:
    assert place.run("mkdir a; echo x > a/b; ln -s b a/c").notices == ()
    assert place.names() == ["a", "a/b", "a/c"]
    assert not place.aside.exists()


@pytest.mark.parametrize(
    "script",
    ["mkdir -p sub/.git/hooks", "mkdir .GIT", "ln -s /tmp .git", "echo gitdir: x > .git",
     "mkdir -p sub/objects sub/refs; touch sub/HEAD"],
)  # fmt: skip
def test_a_new_repository_is_not_kept(place: Place, script: str) -> None:
    (place.source / "old").touch()
    result = place.run(script)
    assert len(result.notices) == 1
    assert "a repository made here is not kept" in result.notices[0]
    assert [name for name in place.names() if name != "sub"] == ["old"]
    assert len(place.put_aside()) == 1


def test_new_files_that_programs_obey_go_aside_whole(place: Place) -> None:
    result = place.run("mkdir -p pkg/.vscode; echo '{}' > pkg/.vscode/tasks.json; touch .envrc")
    assert sorted(notice.split()[0] for notice in result.notices) == [".envrc", "pkg/.vscode"]
    assert place.names() == ["pkg"]
    assert place.put_aside() == [".envrc", ".vscode"]


def test_what_was_there_before_the_first_command_stays_even_when_it_moves(place: Place) -> None:
    (place.source / "pkg" / ".vscode").mkdir(parents=True)
    (place.source / "out").symlink_to("/home")
    assert place.run("true").notices == ()
    assert place.run("mv pkg other").notices == ()
    assert place.names() == ["other", "other/.vscode", "out"]


def test_a_folder_around_what_is_protected_cannot_be_exchanged(place: Place) -> None:
    (place.source / "sub" / ".vscode").mkdir(parents=True)
    (place.source / "sub" / ".vscode" / "tasks.json").write_text("{}")
    result = place.run("mv sub sub2; mkdir -p sub/.vscode; echo EVIL > sub/.vscode/tasks.json")
    assert [notice.split()[0] for notice in result.notices] == ["sub/.vscode"]
    assert place.names() == ["sub", "sub2", "sub2/.vscode", "sub2/.vscode/tasks.json"]


def test_what_was_put_back_between_commands_stays(place: Place) -> None:
    assert place.run("true").notices == ()
    (place.source / ".envrc").write_text("of the user")
    assert place.run("true").notices == ()
    assert place.names() == [".envrc"]


def test_a_path_that_the_view_says_is_obeyed_is_put_aside(place: Place) -> None:
    hooks = View(place.source, place.source, obeyed=(PurePosixPath("tools/hooks"),))
    script = ["sh", "-c", "mkdir -p tools/hooks hooks; touch tools/hooks/pre-commit"]
    notices = place.sandbox.run(script, hooks, SHORT).notices
    assert [notice.split()[0] for notice in notices] == ["tools/hooks"]
    assert place.names() == ["hooks", "tools"]


@pytest.mark.parametrize(
    "script",
    ["ln -s /home/somebody/.ssh/config notes", "ln -s ../../x notes",
     "mkdir -p m/n; ln -s ../.. m/n/up; ln -s m/n/up/../x notes",
     "ln -s /usr/../home notes"],
)  # fmt: skip
def test_links_that_lead_out_are_taken_away(place: Place, script: str) -> None:
    result = place.run(script)
    assert [notice for notice in result.notices if "it leads out" in notice]
    assert "notes" not in place.names()


@pytest.mark.parametrize(
    "script",
    ["ln -s /usr/bin/python3 python", "mkdir d; ln -s ../x d/y", "ln -s round round",
     "ln -s {ws}/x y", "mkdir d; ln -s {ws} d/top; ln -s d/top/x y"],
)  # fmt: skip
def test_links_inside_and_to_programs_stay(place: Place, script: str) -> None:
    assert place.run(script.format(ws=place.source)).notices == ()


def test_setuid_bits_are_taken_off(place: Place) -> None:
    result = place.run("touch tool; chmod 6755 tool")
    assert "no longer setuid" in result.notices[0]
    assert (place.source / "tool").stat().st_mode & 0o7777 == 0o755


def test_a_thousand_findings_are_told_in_a_few_words(place: Place) -> None:
    result = place.run("for i in $(seq 30); do ln -s /home l$i; done")
    assert len(result.notices) == MAX_NOTICES + 1
    assert result.notices[-1] == "The same was done to 25 more."
    assert place.names() == []


def test_nothing_is_moved_through_a_folder_that_became_a_link(place: Place, tmp_path: Path) -> None:
    """The survey may be fooled by a racing command; the move is not."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ".envrc").write_text("mine")
    place.run("true")
    (place.source / "pkg").symlink_to(outside)
    with pytest.raises(SandboxError, match="cannot be moved"):
        _put_aside(place.source, "pkg/.envrc", place.aside)
    assert (outside / ".envrc").read_text() == "mine"


def test_a_look_at_what_did_not_change_reads_no_folder(place: Place) -> None:
    for number in range(40):
        folder = place.source / f"d{number}"
        folder.mkdir()
        (folder / "file").touch()
    survey = Survey(View(place.source, place.source))
    time.sleep(0.15)
    first = survey.look()
    (place.source / "d7" / ".envrc").touch()
    known = dict(survey._folders)
    assert first.guarded == {}
    assert list(survey.look().guarded) == ["d7/.envrc"]
    kept = [path for path in known if survey._folders.get(path) is known[path]]
    assert len(kept) == len(known) - 1


def test_links_to_what_any_view_of_the_tree_shows_stay(place: Place, tmp_path: Path) -> None:
    environment = tmp_path / "env"
    environment.mkdir()
    assert place.run("true").notices == ()
    shown = View(place.source, place.source, read_only=(environment,))
    script = ["ln", "-s", str(environment), "python-home"]
    assert place.sandbox.run(script, shown, SHORT).notices == ()
    assert place.names() == ["python-home"]
