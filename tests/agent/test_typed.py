"""Prompts are shown as they were typed, also where nano was told the same words for each."""

from pathlib import Path

from agent.fork_session import fork_session
from agent.rewind import list_points
from agent.session import Session
from agent.typed import remember_typed
from inference.messages import Message

TOLD = "The tests fail. Find the bug and repair it."


def shown(session: Session) -> list[str]:
    return [point.words for point in list_points(session)]


def test_prompts_of_one_wording_keep_their_own_words_on_a_fork_and_after_a_restart(
    tmp_path: Path,
) -> None:
    session = Session.create(tmp_path, {"repository": "/repo"})
    session.begin(1, "talk", "", "You repair.")
    session.use_model("nano", "You repair.")
    for text in ("Mend it.", "Now the rest.", TOLD):
        remember_typed(session, TOLD, text)
        session.add(Message("user", TOLD))
    expected = ["Mend it.", "Now the rest.", TOLD]
    assert shown(session) == expected
    fork = fork_session(session, tmp_path)
    assert shown(fork) == expected
    fork.close()
    session.close()
    assert shown(Session.open(session.folder)) == expected
