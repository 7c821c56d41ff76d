"""What a reply has said so far, piece by piece, as the message that it becomes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from inference.messages import BadToolCall, Message, Piece, Text, Thinking, ToolCall


@dataclass
class Gathered:
    """One reply as it comes."""

    text: str = ""
    thinking: str = ""
    calls: list[ToolCall | BadToolCall] = field(default_factory=list)
    _num_calls_before_text: int = 0

    def add(self, piece: Piece) -> None:
        """Take note of a piece."""
        match piece:
            case Text():
                is_apart = self.text and len(self.calls) > self._num_calls_before_text
                self.text += f"\n\n{piece.text}" if is_apart else piece.text
                self._num_calls_before_text = len(self.calls)
            case Thinking():
                self.thinking += piece.text
            case ToolCall() | BadToolCall():
                self.calls.append(piece)

    def keep(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Pass pieces on, and take note of them."""
        for piece in pieces:
            self.add(piece)
            yield piece

    def message(self, token_ids: tuple[int, ...] = ()) -> Message:
        """Return the whole of it."""
        return Message("assistant", self.text, self.thinking, tuple(self.calls), token_ids)
