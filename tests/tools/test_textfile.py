import random

import pytest

from tools.textfile import NotText, NotWritable, TextFile, split_lines, unified_diff


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
        # lines that stay the same keep their own endings, inside of an edit too
        (b"a\r\nb\nc\r\n", "a\nb\nc", "x\nb\nz", b"x\r\nb\nz\r\n"),
        (b"a\r\nb\nc\r\n", "a\nb", "x\ny", b"x\r\ny\nc\r\n"),
        (b"a\r\nb\nc\r\n", "a\nb", "a", b"a\r\nc\r\n"),
        (
            "caf\u00e9\r\nb\r\n".encode("utf-16"),
            "b",
            "\u6f22\n",
            "caf\u00e9\r\n\u6f22\r\n\r\n".encode("utf-16"),
        ),
        (b"\xfe\xff\0a\0\n", "a", "b", b"\xfe\xff\0b\0\n"),
        (b"# caf\xe9\nx = 1\n", "x = 1", "x = 2", b"# caf\xe9\nx = 2\n"),
        (b"x = '\xe9' + 1\n", "'\ufffd' + 1", "'\ufffd' + 2", b"x = '\xe9' + 2\n"),
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


@pytest.mark.parametrize(
    ("data", "old", "new"),
    [
        (b"caf\xe9\n", "\ufffd", "e"),  # which letter it was is not known
        (b"\x95\x5c = 1\n", "\\ = 1", "= 1"),  # the second half of a letter of Shift-JIS
        (b"\xe9\nx\n", "x", "\u00e9"),  # how the file writes it is not known
        (b"\xc3\xa9\xe9\n", "\u00e9", "e"),  # perhaps two letters
    ],
)
def test_what_a_file_of_unknown_encoding_would_lose_is_not_written(
    data: bytes, old: str, new: str
) -> None:
    with pytest.raises(NotWritable, match="is not UTF-8"):
        replaced(data, old, new)


def test_an_edit_that_would_make_a_lone_return_a_lines_end_is_not_written() -> None:
    with pytest.raises(NotWritable, match="lone carriage return"):
        replaced(b"a\rx\nb\n", "x", "")


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
