"""What stands in the place of the part of a conversation that was taken away.

The model writes it, asked on a fork of the conversation: the fork shares all that was read, and
nothing of it enters the conversation but the notes. Where the model cannot, the results are listed.
What is sure is added without it: the files that were edited, the words of the person, open items.
"""

from collections.abc import Generator, Sequence

from agent.aside import ask_aside
from agent.events import Event
from agent.parts import Parts
from agent.stale import one_line, paths_edited, results
from agent.steering import heard
from agent.turn import Turn
from agent.wording import prompt
from inference.errors import Cancelled, InferenceError
from inference.messages import Message
from tools.truncate import cut_middle

MAX_TOKENS = 1024
"""Of the notes that the model writes."""
WINDOW_SHARE = 8
"""One part in so many of the window is the most that notes may fill."""
_HEAD = prompt("notes").partition("\n")[0]


def is_prompt(message: Message) -> bool:
    """Say whether a message is a person's: not our notes, and no nudge."""
    is_ours = message.content.startswith(_HEAD) or message.content == prompt("nudge")
    return message.role == "user" and not is_ours


def noted(old: Sequence[Message], words: str, open_items: str) -> Message:
    """Write the notes on the messages `old`: these words, and what is sure without them."""
    edited = ", ".join(paths_edited(old))
    parts = [
        words,
        f"Files edited, or tried to: {edited}." if edited else "",
        *(heard(message.content) for message in old if message.role == "tool"),
        f"Still to do:\n{open_items}" if open_items else "",
    ]
    return Message("user", prompt("notes", notes="\n\n".join(filter(None, parts))))


def num_notes(parts: Parts) -> int:
    """Return how many tokens the notes may have."""
    return min(MAX_TOKENS, parts.chat.context_tokens // WINDOW_SHARE)


def summarise(turn: Turn, messages: Sequence[Message]) -> Generator[Event, None, str]:
    """Ask the model for its notes on a conversation; nothing if it cannot give any.

    Raises:
        Cancelled: the person stopped it, or the time is spent.
    """
    try:
        return (yield from ask_aside(turn, messages, prompt("compact"), num_notes(turn.parts)))
    except Cancelled:
        raise
    except InferenceError:  # no room, or no engine: what can be said without it is said
        return ""


def listed(old: Sequence[Message], max_characters: int) -> str:
    """List the calls with the little that is kept of each, after the notes there were."""
    before = [m.content.partition("\n\n")[2] for m in old if m.content.startswith(_HEAD)]
    rows = [f"- {one_line(one.call, old[one.number].content)}" for one in results(old)]
    return cut_middle("\n".join([*before, *rows]), max_characters)
