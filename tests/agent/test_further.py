"""Folders beside the repository: read by every tool, changed by none, and no way to others."""

from pathlib import Path

import pytest

from agent.errors import UsageError
from agent.folders import further_folders
from tests.agent.fakes import Say, bash, call, edit
from tests.agent.talking import start_talk


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "price.py").write_text("PRICE = 3\n")
    (tmp_path / "secret").write_text("a secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    return folder


def test_a_further_folder_is_read_and_nothing_of_it_is_changed(
    tmp_path: Path, library: Path
) -> None:
    price = f"{library}/price.py"
    steps = [
        call("str_replace_editor", command="view", path=price),
        call("str_replace_editor", command="view", path=str(library)),
        call("search", pattern="PRICE", path=str(library)),
        call("outline", path=price),
        *bash(f"cat {price}; echo 4 > {price}").calls,
        *edit(price, "3", "4").calls,
        call("str_replace_editor", command="create", path=f"{library}/new.py", file_text="a"),
        call("str_replace_editor", command="view", path=f"{library}/link"),
        call("str_replace_editor", command="view", path=f"{library}/../secret"),
        *bash(f"cat {tmp_path}/secret").calls,
    ]
    script = [*(Say((step,)) for step in steps), Say(text="Done.")]
    talk = start_talk(tmp_path, *script, sandbox="bubblewrap", folders=(library,))
    talk.say("Look.")
    viewed, listed, found, outlined, printed, *refused = talk.results
    assert "PRICE = 3" in viewed
    assert listed.split("\n")[:2] == [f"{library}/link", price]
    assert found == f"{price}:1: PRICE = 3"
    assert "PRICE" in outlined
    assert printed.startswith("PRICE = 3\n")
    assert "Read-only file system" in printed
    assert f"{price} is outside of the repository: it is read" in refused[0]
    assert "is outside of the repository" in refused[1]
    assert "leads out of the workspace" in refused[2]
    assert "is outside the workspace" in refused[3]
    assert "No such file" in refused[4]
    assert sorted(path.name for path in library.iterdir()) == ["link", "price.py"]
    assert (library / "price.py").read_text() == "PRICE = 3\n"
    assert f"read, and not change: {library}." in talk.model.seen[0][-1].content

    resumed = talk.resumed()
    assert resumed.conversation.request.folders == (library,)
    resumed.conversation.close()


def test_who_is_asked_about_an_edit_there_is_not_shown_one(tmp_path: Path, library: Path) -> None:
    script = [edit(f"{library}/price.py", "3", "4"), Say(text="Done.")]
    talk = start_talk(tmp_path, *script, mode="ask", folders=(library,))
    talk.say("Change it.")
    assert "is outside of the repository" in talk.results[0]


def test_only_folders_that_are_beside_the_project_can_be_meant(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "me"))
    for name in (
        "home/me/.config/qwen-agent",
        "home/me/.ssh/old",
        "home/me/notes",
        "work/.git",
        "work/docs",
    ):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    (tmp_path / "alias").symlink_to(library)
    work = tmp_path / "work"
    names = [str(tmp_path / name) for name in ("alias", "library", "home/me/notes", "work/docs")]
    assert further_folders(names, work) == (library, tmp_path / "home" / "me" / "notes")
    for name, reason in {
        "library": "is no folder",
        str(library / "price.py"): "is no folder",
        f"{library}\0": "is no folder",
        str(tmp_path): "holds the repository",
        str(tmp_path / "home"): "holds more than a project",
        "/etc": "holds more than a project",
        "/tmp": "holds",
        "/proc/self": "holds more than a project",
        str(tmp_path / "home/me/.ssh"): "where secrets are kept",
        str(tmp_path / "home/me/.ssh/old"): "where secrets are kept",
        "/dev/shm": "holds more than a project",
        str(tmp_path / "home/me/.config/qwen-agent"): "what qwen-agent keeps",
        str(tmp_path / "home/me/.config"): "what qwen-agent keeps",
    }.items():
        with pytest.raises(UsageError, match=reason):
            further_folders([name], work)
