import random

import pytest

from tools.textfile import NotText, TextFile, split_lines, unified_diff


def replaced(data: bytes, old: str, new: str) -> bytes:
    file = TextFile.decode(data)
    start = file.text.index(old)
    return file.replace(start, start + len(old), new).encode()


@pytest.mark.parametrize(
    ("before", "old", "new", "after"),
    [
        (b"a\nb\nc\n", "b", "x\ny", b"a\nx\ny\nc\n"),
        (b"a\r\nb\r\nc\r\n", "b\n", "x\ny\n", b"a\r\nx\r\ny\r\nc\r\n"),
        (b"a\r\nb\r\nc", "c", "x\ny", b"a\r\nb\r\nx\r\ny"),
        (b"\xef\xbb\xbfa\r\nb\r\n", "a", "x", b"\xef\xbb\xbfx\r\nb\r\n"),
        (b"\xef\xbb\xbfa\nb", "b", "", b"\xef\xbb\xbfa\n"),
        (b"unix\ndos\r\nunix\n", "dos", "x\ny", b"unix\nx\r\ny\r\nunix\n"),
        (b"unix\ndos\r\nunix\n", "unix\ndos", "a\nb", b"a\nb\r\nunix\n"),
        (b"one", "one", "two\nthree", b"two\nthree"),
        (b"lone\rreturn\n", "lone", "x", b"x\rreturn\n"),
        (b"odd\r\r\nend\n", "end", "x", b"odd\r\r\nx\n"),
    ],
)
def test_an_edit_keeps_endings_mark_and_missing_newline(
    before: bytes, old: str, new: str, after: bytes
) -> None:
    assert replaced(before, old, new) == after


def test_random_edits_leave_every_byte_outside_them_alone() -> None:
    rng = random.Random(7)
    for _ in range(500):
        pieces = [rng.choice(["é", "x y", "\t", ""]) for _ in range(rng.randint(1, 8))]
        raw = "".join(piece + rng.choice(["\n", "\r\n"]) for piece in pieces)
        raw = rng.choice(["", "\ufeff"]) + raw[: rng.randint(0, len(raw))].rstrip("\r")
        file = TextFile.decode(raw.encode())
        assert file.encode() == raw.encode()
        start = rng.randint(0, len(file.text))
        end = rng.randint(start, len(file.text))
        edited = file.replace(start, end, "NEW\nTEXT")
        assert edited.text == file.text[:start] + "NEW\nTEXT" + file.text[end:]
        head, tail = edited.raw.split("NEW")[0], edited.raw.split("TEXT")[1]
        assert raw.startswith(head)
        assert raw.endswith(tail)


@pytest.mark.parametrize("data", [b"a\0b", b"\xff\xfea", b"\xff\xfe\0\0a\0\0\0", b"\x01\xe9"])
def test_bytes_that_are_no_text_are_refused(data: bytes) -> None:
    with pytest.raises(NotText):
        TextFile.decode(data)


def test_a_final_newline_begins_no_line_and_only_newlines_end_one() -> None:
    assert split_lines("") == []
    assert split_lines("a\n\n") == ["a", ""]
    assert split_lines("a\x0cb\u2028c\rd") == ["a\x0cb\u2028c\rd"]


def test_the_diff_says_where_a_final_newline_is_missing() -> None:
    assert unified_diff("a.py", "x\ny", "x\nz\n") == (
        "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n x\n-y\n\\ No newline at end of file\n+z\n"
    )


def test_the_diff_of_a_new_file_comes_from_nowhere() -> None:
    assert unified_diff("a.py", None, "x\n") == "--- /dev/null\n+++ b/a.py\n@@ -0,0 +1 @@\n+x\n"
