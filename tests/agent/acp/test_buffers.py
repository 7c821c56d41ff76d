"""Files that somebody has open in an editor, saved or not, and a model that edits them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from agent.errors import RunCancelled
from agent.events import StopReason
from agent.frontends.acp.buffers import BufferFiles, text_of
from agent.reach import Reach
from agent.settings import HooksConfig
from tests.agent.fakes import CART, REPAIR, Say, bash, call, edit, write
from tests.agent.talking import QUIET, Talk, start_talk

LOOK = Say((call("str_replace_editor", command="view", path="shop/cart.py"),))
UNDO = Say((call("str_replace_editor", command="undo_edit", path="shop/cart.py"),))
DONE = Say(text="Done.")
TYPED = CART + "\n\ndef typed() -> None: ...\n"
MENDED = CART.replace("price - tax", "price + tax")
BOTH = TYPED.replace("price - tax", "price + tax")


@dataclass
class Shown:
    """An editor; what it has open it shows as it is there, and never looks at the disk again."""

    open: dict[Path, str] = field(default_factory=dict)
    saves: Callable[[str], str] = str
    """What it makes of a text when it saves it."""
    is_able: bool = True
    is_lying: bool = False
    """Says that it has written, and has not."""
    stops: bool = False
    """Is waited for in vain, until the person stops the turn."""
    num_asked: int = 0
    written: list[str] = field(default_factory=list)

    def is_there(self) -> bool:
        return self.is_able

    def read(self, path: Path) -> str | None:
        self.num_asked += 1
        if self.stops:
            raise RunCancelled("stopped")
        if path in self.open:
            return self.open[path]
        return path.read_bytes().decode() if path.exists() else None

    def write(self, path: Path, text: str) -> bool:
        text = self.saves(text)
        self.written.append(text)
        if not self.is_lying:
            path.write_bytes(text.encode())
        self.open[path] = text.replace("\r\n", "\n")
        return True


def talk_with(editor: Shown, folder: Path, *script: Say, **how: object) -> Talk:
    """Begin a talk of somebody who has the cart open."""
    reach = Reach(lambda view, known: BufferFiles(view, known, editor, folder / "work"))
    return start_talk(folder, *script, reach=reach, **how)  # type: ignore[arg-type]


def typed_in(editor: Shown, folder: Path, text: str = TYPED) -> None:
    """Let the person type, and not save."""
    editor.open[folder / "work" / "shop" / "cart.py"] = text


def test_an_edit_lands_on_what_was_typed_and_going_back_leaves_that(tmp_path: Path) -> None:
    editor = Shown()
    typed_in(editor, tmp_path)
    talk = talk_with(editor, tmp_path, LOOK, REPAIR, bash("tail -n 1 shop/cart.py"), DONE)
    talk.say("Mend it.")
    viewed, edited, printed = talk.results
    assert "def typed()" in viewed
    assert "Note" not in edited
    assert "def typed()" in printed, "what commands see is the disk, where it is saved now"
    assert talk.read("shop/cart.py") == BOTH
    assert editor.written == [TYPED, BOTH]
    talk.conversation.undo()
    assert talk.read("shop/cart.py") == TYPED
    talk.conversation.redo()
    assert talk.read("shop/cart.py") == BOTH
    (prompt, _change) = talk.conversation.points()
    talk.conversation.rewind(prompt)
    assert talk.read("shop/cart.py") == TYPED


def test_the_model_takes_back_its_own_edit_and_no_more_also_after_a_restart(
    tmp_path: Path,
) -> None:
    editor = Shown()
    typed_in(editor, tmp_path)
    talk = talk_with(editor, tmp_path, REPAIR, DONE, UNDO, DONE, UNDO, DONE)
    talk.say("Mend it.")
    resumed = talk.resumed()
    resumed.say("Take it back.")
    assert resumed.results[0].startswith("Took back the last edit")
    assert talk.read("shop/cart.py") == TYPED
    resumed.say("Once more.")
    assert resumed.results[0].startswith("There is nothing to undo")


@pytest.mark.slow
def test_what_was_typed_since_is_told_and_is_not_taken_back(tmp_path: Path) -> None:
    editor = Shown()
    talk = talk_with(editor, tmp_path, LOOK, edit("shop/cart.py", "2 *", "3 *"), UNDO, DONE)
    typed = []

    def type_more(event: object) -> None:
        if len(talk.results) > len(typed):
            path = tmp_path / "work" / "shop" / "cart.py"
            typed.append(editor.open.get(path, CART) + f"# {len(typed)}\n")
            typed_in(editor, tmp_path, typed[-1])

    talk.say("Triple it.", on=type_more)
    _viewed, edited, undone = talk.results
    assert "Note: the file had changed since you read it." in edited
    assert "has changed since your last edit" in undone
    assert talk.read("shop/cart.py") == CART.replace("2 *", "3 *") + "# 0\n# 1\n"


def test_what_a_command_did_counts_where_the_editor_has_not_seen_it(tmp_path: Path) -> None:
    editor = Shown()
    typed_in(editor, tmp_path, CART)
    shout = bash("sed -i s/double/DOUBLE/ shop/cart.py")
    talk = talk_with(editor, tmp_path, LOOK, shout, REPAIR, DONE, LOOK, shout, REPAIR, DONE)
    talk.say("Mend it.")
    after = MENDED.replace("double", "DOUBLE")
    assert talk.read("shop/cart.py") == after
    assert editor.written == [], "it would have written over what the command did"
    talk.say("Look at it.")  # the editor still shows what was there at first
    assert "def DOUBLE" in talk.results[0]
    assert talk.read("shop/cart.py") == after


def test_where_a_command_and_a_person_have_changed_a_file_the_disk_is_kept(tmp_path: Path) -> None:
    editor = Shown()
    typed_in(editor, tmp_path)
    shout = bash("sed -i s/double/DOUBLE/ shop/cart.py")
    talk = talk_with(editor, tmp_path, LOOK, shout, REPAIR, DONE)
    talk.say("Mend it.")
    assert talk.read("shop/cart.py") == MENDED.replace("double", "DOUBLE")
    assert editor.written == [], "the person is asked by their editor when they save"


def test_what_the_editor_makes_of_a_text_when_it_saves_it_is_what_counts(tmp_path: Path) -> None:
    editor = Shown(saves=lambda text: text.replace("tax", "duty"))
    talk = talk_with(editor, tmp_path, LOOK, REPAIR, UNDO, DONE)
    talk.say("Mend it.")
    _viewed, edited, undone = talk.results
    assert "return price + duty" in edited
    assert "Note: the user's editor changed more when it saved the file." in edited
    assert undone.startswith("Took back the last edit")


@pytest.mark.slow
def test_a_person_who_goes_back_in_the_editor_is_believed(tmp_path: Path) -> None:
    editor = Shown()
    talk = talk_with(editor, tmp_path, REPAIR, DONE, LOOK, edit("shop/cart.py", "2 *", "3 *"), DONE)
    talk.say("Mend it.")
    typed_in(editor, tmp_path, CART)
    talk.say("I took that back; triple it.")
    assert "price - tax" in talk.results[0]
    assert talk.read("shop/cart.py") == CART.replace("2 *", "3 *")


@pytest.mark.slow
def test_what_a_hook_did_counts_where_the_editor_has_not_seen_it(tmp_path: Path) -> None:
    editor = Shown()
    hooks = HooksConfig(after_edit=("sed -i s/double/DOUBLE/ shop/cart.py",))
    config = replace(QUIET, hooks=hooks)
    talk = talk_with(editor, tmp_path, REPAIR, DONE, LOOK, DONE, config=config)
    talk.say("Mend it.")
    talk.say("Look.")
    assert "def DOUBLE" in talk.results[0]
    assert talk.read("shop/cart.py") == MENDED.replace("double", "DOUBLE")


@pytest.mark.parametrize(
    "how", ["away", *(pytest.param(how, marks=pytest.mark.slow) for how in ("lying", "endings"))]
)
def test_an_editor_that_does_not_do_what_it_is_told_does_no_harm(tmp_path: Path, how: str) -> None:
    editor = Shown(is_able=how != "away", is_lying=how == "lying")
    write(tmp_path / "work", {})
    talk = talk_with(editor, tmp_path, LOOK, REPAIR, UNDO, LOOK, DONE)
    file = tmp_path / "work" / "shop" / "cart.py"
    if how == "endings":
        editor.saves = lambda text: text.replace("\r\n", "\n")
        file.write_bytes(CART.replace("\n", "\r\n").encode())
    before = file.read_bytes()
    changed = []

    def look(event: object) -> None:
        changed.append(file.read_bytes())

    talk.say("Mend it and take it back.", on=look)
    assert before.replace(b"price - tax", b"price + tax") in changed
    assert file.read_bytes() == before
    assert "Note" not in "".join(talk.results)
    assert (editor.num_asked == 0) == (how == "away")


def test_a_new_file_is_made_by_the_editor_and_taken_back_on_disk(tmp_path: Path) -> None:
    editor = Shown(saves=lambda text: text.upper())
    made = {"command": "create", "path": "new/one.txt", "file_text": "one"}
    back = {"command": "undo_edit", "path": "new/one.txt"}
    script = [Say((call("str_replace_editor", **words),)) for words in (made, back)]
    talk = talk_with(editor, tmp_path, *script, DONE)
    talk.say("Make it.")
    assert editor.written == ["ONE\n"]
    assert talk.results[0].startswith("Created new/one.txt (1 lines).\nNote: the user's editor")
    assert talk.results[1] == "Removed new/one.txt, which you had created."


def test_a_text_that_was_never_saved_is_a_file_that_no_create_takes_away(tmp_path: Path) -> None:
    editor = Shown(open={tmp_path / "work" / "new.py": "typed = 1\n"})
    path = {"path": "new.py"}
    commands = (
        {"command": "create", "file_text": "other = 2\n"},
        {"command": "view"},
        {"command": "str_replace", "old_str": "typed", "new_str": "mended"},
    )
    script = [Say((call("str_replace_editor", **path, **words),)) for words in commands]
    talk = talk_with(editor, tmp_path, script[0], DONE, *script[1:], DONE)
    talk.say("Make it.")
    assert talk.results == ["new.py exists; use str_replace."]
    assert editor.written == []
    talk.say("Mend it.")
    assert "typed = 1" in talk.results[0]
    assert talk.read("new.py") == "mended = 1\n"
    talk.conversation.undo()
    assert talk.read("new.py") == "typed = 1\n", "what the person had typed is theirs"


@pytest.mark.parametrize("left", [CART, CART.removesuffix("\n"), ""])
def test_what_is_shown_of_a_file_that_a_command_took_away_is_no_file(
    tmp_path: Path, left: str
) -> None:
    editor = Shown()
    typed_in(editor, tmp_path, left)
    made = {"command": "create", "path": "shop/cart.py", "file_text": "new = 1\n"}
    script = (bash("rm shop/cart.py"), LOOK, Say((call("str_replace_editor", **made),)), DONE)
    talk = talk_with(editor, tmp_path, *script)
    talk.say("Write it anew.")
    assert talk.results[1] == "shop/cart.py does not exist."
    assert talk.read("shop/cart.py") == "new = 1\n"


def test_a_call_that_is_stopped_while_the_editor_is_asked_changes_nothing(tmp_path: Path) -> None:
    editor = Shown(stops=True)
    typed_in(editor, tmp_path)
    talk = talk_with(editor, tmp_path, REPAIR, REPAIR, DONE)
    assert talk.say("Mend it.").reason is StopReason.CANCELLED
    assert (talk.read("shop/cart.py"), editor.written) == (CART, [])
    editor.stops = False
    talk.say("Go on.")
    assert talk.read("shop/cart.py") == BOTH


def test_in_a_further_folder_the_editor_is_asked_and_nothing_is_written(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    price = library / "price.py"
    price.write_text("PRICE = 3\n")
    editor = Shown(open={price: "PRICE = 4\n"})
    look = Say((call("str_replace_editor", command="view", path=str(price)),))
    script = (look, edit(str(price), "4", "5"), DONE)
    talk = talk_with(editor, tmp_path, *script, folders=(library,))
    talk.say("Look.")
    assert "PRICE = 4" in talk.results[0]
    assert "it is read and not changed" in talk.results[1]
    assert (price.read_text(), editor.written) == ("PRICE = 3\n", [])


def test_nothing_is_asked_about_what_a_workspace_refuses(tmp_path: Path) -> None:
    editor = Shown()
    talk = talk_with(editor, tmp_path, DONE)
    work, secret = tmp_path / "work", tmp_path / "secret.txt"
    secret.write_text("secret")
    (work / "out.txt").symlink_to(secret)
    (work / "hard.txt").hardlink_to(secret)
    paths = ("../secret.txt", str(secret), "out.txt", ".git/config", "hard.txt")
    edits = [edit(path, "secret", "changed") for path in (*paths, "a\0b", "~/x", "shop")]
    looks = [Say((call("str_replace_editor", command="view", path=path),)) for path in paths[:3]]
    talk.model.scripts = [[*edits, *looks, DONE]]
    talk.say("Try.")
    assert secret.read_text() == "secret"
    assert editor.written == []
    assert editor.num_asked <= 4, "what may be read in the workspace"
    assert not any("changed" in result and "Edited" in result for result in talk.results)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"a\nb", "a\nb"),
        (b"a\r\nb\r\n", "a\nb\n"),
        (b"a\r\nb\n", None),
        (b"a\rb\n", None),
        (b"\xef\xbb\xbfa\n", None),
        (b"\xff\xfea\0", None),
        (b"caf\xe9\n", None),
        (b"a\0b", None),
    ],
)
def test_an_editor_has_only_texts_that_come_back_as_the_same_bytes(
    data: bytes, text: str | None
) -> None:
    assert text_of(data) == text


@pytest.mark.slow
@pytest.mark.parametrize("lie", ["a\0b", "\ud800", "a\rb"])
def test_what_no_file_of_text_holds_is_not_believed(tmp_path: Path, lie: str) -> None:
    editor = Shown()
    typed_in(editor, tmp_path, lie)
    talk = talk_with(editor, tmp_path, LOOK, REPAIR, DONE)
    talk.say("Mend it.")
    assert talk.read("shop/cart.py") == MENDED
    assert editor.written == []


@pytest.mark.slow
def test_a_text_without_its_last_line_end_is_the_same_text(tmp_path: Path) -> None:
    editor = Shown()
    typed_in(editor, tmp_path, CART.removesuffix("\n"))
    talk = talk_with(editor, tmp_path, REPAIR, DONE)
    talk.say("Mend it.")
    assert editor.written == [MENDED]


def test_a_person_who_is_asked_sees_the_edit_on_what_they_have_typed(tmp_path: Path) -> None:
    editor = Shown()
    typed_in(editor, tmp_path, TYPED.replace("return 2", "return 4"))
    script = (edit("shop/cart.py", "4 * price", "5 * price"), DONE)
    talk = talk_with(editor, tmp_path, *script, mode="ask")
    talk.say("Five times.")
    assert "+    return 5 * price" in talk.person.asked[0].exact
    assert "return 5 * price" in talk.read("shop/cart.py")
