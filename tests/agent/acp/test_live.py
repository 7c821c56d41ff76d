"""What is shown of an output that grows: not too often, not too much of it, nothing left out."""

from agent.frontends.acp.live import PERIOD_S, TAIL_BYTES, Screen


class Watched:
    """A screen, a clock that is moved by hand, and what was shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.now_s = 0.0
        self.screen = Screen(self.shown.append, lambda: self.now_s)

    def look(self, after_s: float, data: bytes = b"") -> None:
        if data:
            self.screen(data)
        self.now_s += after_s
        self.screen.refresh()


def test_what_comes_quickly_is_shown_together_and_what_came_last_is_shown_too() -> None:
    watched = Watched()
    for number in range(100):
        watched.look(PERIOD_S / 10, b"%d\n" % number)
    num_shown = len(watched.shown)
    assert num_shown in (9, 10)
    watched.look(PERIOD_S, b"the end")
    watched.look(PERIOD_S)
    watched.look(10 * PERIOD_S)
    assert len(watched.shown) == num_shown + 1, "and only once, though nothing follows it"
    assert watched.shown[-1].startswith("0\n1\n")
    assert watched.shown[-1].endswith("99\nthe end")


def test_of_a_long_output_whole_lines_at_the_end_are_shown() -> None:
    watched = Watched()
    watched.look(1, b"".join(b"line %05d\n" % number for number in range(5_000)))
    first, line, *_, last = watched.shown[0].split("\n")
    num_shown = watched.shown[0].count("line")
    assert first == f"[{(5_000 - num_shown) * 11:,} bytes before this]"
    assert (line, last) == (f"line {5_000 - num_shown:05}", "")
    assert len(watched.shown[0]) < TAIL_BYTES + 50
    watched.look(1, b"x" * 100_000)
    assert len(watched.shown[1]) < TAIL_BYTES + 50
    assert watched.shown[1].endswith("x" * 8_000)
