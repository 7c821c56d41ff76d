"""A commit out of a talk: the files that the model changed, and nothing of the person's besides."""

from pathlib import Path
from typing import Any

import pytest

from agent.errors import GitFailed, NotApplied, UsageError
from agent.events import Event
from agent.talk_commit import Draft, plain_words, without_fence
from sandbox.base import never
from tests.agent.fakes import Say, bash, edit, make_repository, write
from tests.agent.talking import Talk, start_talk
from tests.agent.test_user_commit import git

MEND = edit("shop/cart.py", "price - tax", "price + tax")
DONE = Say(text="Done.")
PROPOSED = Say(text="```\nMend the sum\n\nThe tax was taken away.\n```")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, of a person whom git knows."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.org\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return make_repository(tmp_path / "work", {"mine.txt": "one\n"})


def draft(talk: Talk) -> Draft:
    """Have a commit proposed."""
    steps = talk.conversation.draft_commit(never)
    events: list[Event] = []
    while True:
        try:
            events.append(next(steps))
        except StopIteration as stop:
            found: Any = stop.value
            assert isinstance(found, Draft)
            return found


def test_only_what_the_model_changed_is_committed_as_the_person(repository: Path) -> None:
    talk = start_talk(repository.parent, MEND, bash("echo new > new.txt"), DONE, PROPOSED)
    write(repository, {"mine.txt": "two\n"})
    git(repository, "add", "mine.txt")
    write(repository, {"untracked.txt": "mine\n"})
    talk.say("Mend it.")
    num_messages = len(talk.conversation.session.messages)
    proposed = draft(talk)
    assert proposed.paths == ("new.txt", "shop/cart.py")
    assert proposed.words.startswith("Mend the sum\n\nThe tax was taken away.\n\nGenerated-by: ")
    assert len(talk.conversation.session.messages) == num_messages
    commit = talk.conversation.commit("Mend the sum\n")
    shown = git(repository, "show", "--format=%H %an <%ae> %s", "--name-only", "HEAD").split("\n")
    assert shown[0] == f"{commit} Ada <ada@example.org> Mend the sum"
    assert shown[2:-1] == ["new.txt", "shop/cart.py"]
    assert git(repository, "status", "--porcelain") == "M  mine.txt\n?? untracked.txt\n"
    with pytest.raises(UsageError, match="nothing that is not committed"):
        talk.conversation.commit("again")


def test_what_a_person_mends_after_the_model_goes_with_it(repository: Path) -> None:
    talk = start_talk(repository.parent, MEND, DONE)
    talk.say("Mend it.")
    write(repository, {"shop/cart.py": f"# mended\n{talk.read('shop/cart.py')}"})
    talk.conversation.commit("Mend")
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "show", "HEAD:shop/cart.py").startswith("# mended\n")


def test_a_file_with_earlier_work_of_the_person_is_refused(repository: Path) -> None:
    write(repository, {"shop/cart.py": f"# mine\n{(repository / 'shop/cart.py').read_text()}"})
    talk = start_talk(repository.parent, MEND, DONE)
    talk.say("Mend it.")
    with pytest.raises(NotApplied, match=r"shop/cart\.py had changes of yours before"):
        talk.conversation.commit("Mend")
    assert git(repository, "log", "--format=%s") == "first\n"


def test_the_model_s_work_that_the_person_committed_is_not_taken_for_mixed(
    repository: Path,
) -> None:
    again = edit("shop/cart.py", "price + tax", "tax + price")
    talk = start_talk(repository.parent, MEND, DONE, again, DONE)
    talk.say("Mend it.")
    git(repository, "commit", "-qam", "by hand")
    write(repository, {"shop/cart.py": f"{talk.read('shop/cart.py')}# mine\n"})
    with pytest.raises(UsageError, match="nothing"):
        talk.conversation.commit("Mend")
    git(repository, "checkout", "-q", "shop/cart.py")
    talk.say("Turn it round.")
    talk.conversation.commit("Turn")
    assert git(repository, "log", "--format=%s") == "Turn\nby hand\nfirst\n"


def test_what_was_undone_is_not_committed(repository: Path) -> None:
    talk = start_talk(repository.parent, MEND, DONE)
    talk.say("Mend it.")
    talk.conversation.undo()
    with pytest.raises(UsageError, match="nothing that is not committed"):
        talk.conversation.commit("Mend")
    talk.conversation.redo()
    talk.conversation.commit("Mend")
    assert git(repository, "log", "--format=%s") == "Mend\nfirst\n"


def test_a_merge_under_way_or_an_unknown_person_is_said(repository: Path) -> None:
    talk = start_talk(repository.parent, MEND, DONE)
    talk.say("Mend it.")
    merge = repository / ".git" / "MERGE_HEAD"
    merge.write_text(git(repository, "rev-parse", "HEAD"))
    with pytest.raises(NotApplied, match="in the middle of a merge"):
        talk.conversation.commit("Mend")
    merge.unlink()
    (repository.parent / "home" / ".gitconfig").unlink()
    with pytest.raises(GitFailed, match=r"git knows no user\.name"):
        talk.conversation.commit("Mend")


def test_a_repository_without_a_commit_is_said(repository: Path) -> None:
    talk = start_talk(repository.parent, MEND, DONE)
    talk.say("Mend it.")
    git(repository, "update-ref", "-d", "HEAD")
    with pytest.raises(NotApplied, match="there is no commit to build on yet"):
        talk.conversation.commit("Mend")


def test_a_hook_is_named_and_not_run(repository: Path) -> None:
    talk = start_talk(repository.parent, MEND, DONE, PROPOSED)
    hook = repository / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch was-run\nexit 1\n")
    hook.chmod(0o755)
    talk.say("Mend it.")
    assert draft(talk).hooks == ("pre-commit",)
    talk.conversation.commit("Mend")
    assert not (repository / "was-run").exists()


def test_without_words_of_the_model_the_files_are_named() -> None:
    assert plain_words(["a/one.py"]) == "Change one.py"
    assert plain_words(["1", "2", "3", "4", "5"]) == "Change 1, 2, 3 and 2 more"
    assert without_fence('"Mend it."') == "Mend it."
