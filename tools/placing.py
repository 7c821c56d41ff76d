"""Where an edit goes: the one place that its old text means, or why there is none.

Pure functions on text; nothing is shown, read or written here. An exact match wins, then the same
lines in other white space, in one place only; likeness decides what is shown, never what is edited.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tools import editor_words as words
from tools import slips
from tools.errors import ToolFailed
from tools.match import Region, closest, find_all, find_words, has_line_numbers, line_at
from tools.respace import Replacement, find_respaced

Rescue = Callable[[str, str, str], Replacement | None]
"""Finds the same lines in other white space, given the text, the old and the new part."""


@dataclass(frozen=True)
class Ask:
    """One `str_replace`, and the file as it is."""

    path: str
    text: str
    old: str
    new: str
    is_stale: bool
    """Whether the file is another than the model saw."""
    is_plain: bool
    """Whether slips of the hand go unnoticed, as nano knows it."""


@dataclass(frozen=True)
class Place:
    """What becomes what."""

    start: int
    end: int
    new: str
    is_respaced: bool = False


class NoPlace(ToolFailed):
    """No place was found."""

    def __init__(self, sentence: str, regions: Sequence[Region] = (), is_miss: bool = True) -> None:
        """Say why; `regions` are shown in the sentence, `is_miss` if another way may help."""
        super().__init__(sentence)
        self.regions = regions
        self.is_miss = is_miss


def find_place(ask: Ask, rescue: Rescue = find_respaced) -> Place:
    """Return the one place.

    Raises:
        NoPlace: there is none, or more than one, or one that was hardly meant.
    """
    if ask.old == "":
        raise NoPlace("old_str is empty; give the text to replace, or use insert.", is_miss=False)
    if ask.old == ask.new:
        raise NoPlace("old_str and new_str are the same text.", is_miss=False)
    offsets = find_all(ask.text, ask.old)
    if len(offsets) > 1:
        if ask.is_stale:
            raise NoPlace(words.stale(ask.path), is_miss=False)
        raise NoPlace(words.ambiguous(ask.path, ask.text, offsets))
    if offsets:
        if not ask.is_plain:
            _check_meant(ask, offsets[0])
        return Place(offsets[0], offsets[0] + len(ask.old), ask.new)
    found = rescue(ask.text, ask.old, ask.new)
    if found and ask.text[found.start : found.end] != found.new:
        return Place(found.start, found.end, found.new, is_respaced=True)
    raise _missed(ask, found.start if found else _applied(ask))


def _check_meant(ask: Ask, start: int) -> None:
    """Refuse an exact match inside of a word or of a new text, or one without its indentation.

    Raises:
        NoPlace: it is one of them.
    """
    for slip in (
        slips.cut_word(ask.text, start, start + len(ask.old)),
        slips.half_indented(ask.text, start, ask.old, ask.new),
    ):
        if slip is not None:
            raise NoPlace(slip)
    doubled = slips.doubled(ask.text, start, ask.old, ask.new)
    if doubled is not None:
        sentence = words.applied(ask.path, line_at(ask.text, doubled), is_old_there=True)
        raise NoPlace(sentence, is_miss=False)


def _applied(ask: Ask) -> int | None:
    """Return where the new text stands; what is only a part of the old one proves nothing."""
    if not ask.is_plain and ask.new in ask.old:
        return None
    return find_words(ask.text, ask.new)


def _missed(ask: Ask, applied: int | None) -> NoPlace:
    """Say why the old text is not there, by the best reason; the new one may stand at `applied`."""
    path, text = ask.path, ask.text
    if has_line_numbers(ask.old):
        return NoPlace(words.numbered(path))
    if not ask.is_plain and (escaped := slips.escaped_old(path, text, ask.old)):
        return NoPlace(escaped)
    if applied is not None:
        return NoPlace(words.applied(path, line_at(text, applied)), is_miss=False)
    if ask.is_stale:
        return NoPlace(words.stale(path), is_miss=False)
    regions = closest(text, ask.old)
    return NoPlace(words.not_found(path, text, regions), regions)
