"""What was typed while the model works and has not reached it yet, and when it will."""

from collections.abc import Iterator

from agent.frontends.repl.text import one_line


class Waiting:
    """Texts in the order in which they were typed."""

    def __init__(self) -> None:
        self._typed: list[tuple[str, str]] = []

    def __bool__(self) -> bool:
        return bool(self._typed)

    def steers(self, text: str) -> None:
        """Add what goes to the model with its next result."""
        self._typed.append(("steers", text))

    def queued(self, text: str) -> None:
        """Add a prompt for when the turn has ended."""
        self._typed.append(("queued", text))

    def reached(self, text: str) -> None:
        """Take out what the model, or the person again, has got in a text."""
        self._typed = [one for one in self._typed if one[1].strip() not in text]

    def lines(self, prompts: list[str], width: int) -> Iterator[str]:
        """Yield a line for each, after the prompts that wait for something else to be done."""
        for label, text in [*(("waits", prompt) for prompt in prompts), *self._typed]:
            yield one_line(f"{label}: {text}", width)
