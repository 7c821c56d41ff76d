"""Notices while it streams that a text has begun to repeat itself; pure, knows no model.

A passage that comes again and again, word for word, is what a small model falls into and never
leaves. Short ones must fill some space too, so that a ruler of dashes is none.
"""

CHECK_EVERY = 200
"""Characters between two looks; a look costs a few milliseconds at most."""
MAX_SEEN = 8_000
MIN_CHARACTERS = 600


class TextLoop:
    """Reads a stream of text."""

    def __init__(self, num_repeats: int) -> None:
        self._num_repeats = num_repeats
        self._tail = ""
        self._num_unseen = 0
        self.is_found = False
        """Whether the text has repeated one passage again and again."""

    def feed(self, text: str) -> None:
        """Take more of the text."""
        self._tail = (self._tail + text)[-MAX_SEEN:]
        self._num_unseen += len(text)
        if self._num_unseen >= CHECK_EVERY:
            self._num_unseen = 0
            self.is_found |= ends_in_loop(self._tail, self._num_repeats)


def ends_in_loop(text: str, num_repeats: int) -> bool:
    """Say whether `text` ends in at least `num_repeats` copies of one passage.

    The failure function of Knuth, Morris and Pratt, on the text from its end: where a part of
    length n has a border of length b, it repeats every n - b characters.
    """
    turned = text[::-1]
    borders = [0] * len(turned)
    border = 0
    for n in range(1, len(turned)):
        while border and turned[n] != turned[border]:
            border = borders[border - 1]
        border += turned[n] == turned[border]
        borders[n] = border
        length = n + 1
        if length >= MIN_CHARACTERS and length >= num_repeats * (length - border):
            return True
    return False
