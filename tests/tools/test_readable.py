"""What is shown hides nothing and moves nothing; secrets are taken out, ordinary text is not."""

import time

import pytest

from tools.readable import num_hidden, readable, redacted, shown

NONE: dict[str, str] = {}


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("a\x1b]0;title\x07b", "ab"),
        ("a\x1b]52;c;ZXZpbA==\x1b\\b", "ab"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\x1bP1;2|x\x1b\\b", "ab"),
        ("\x9b2Ja\x85b", "ab"),
        ("\a" * 1000 + "x", "x"),
        ("10%\r100%", "100%"),
        ("user\u202etxt.exe", "user<U+202E>txt.exe"),
        ("a\u200bb", "a<U+200B>b"),
        ("pay\u200dpal", "pay<U+200D>pal"),
        ("\ufeffx\u2028y", "<U+FEFF>x<U+2028>y"),
        ("ok" + "".join(chr(0xE0000 + ord(c)) for c in "obey me"), "ok<7 hidden characters>"),
    ],
)
def test_what_a_screen_obeys_is_gone_and_what_is_hidden_is_spelled(text: str, seen: str) -> None:
    assert shown(text) == seen


@pytest.mark.parametrize(
    "text", ["naïve", "日本語", "\u0645\u06cc\u200c\u062e", "👩\u200d💻", "tab\tend\n", "é"]
)
def test_ordinary_writing_stays(text: str) -> None:
    assert shown(text) == text
    assert num_hidden(text) == 0


LINES = ("A" * 64 + "\n") * 3 + "QQ==\n"
KEY = f"-----BEGIN RSA PRIVATE KEY-----\n{LINES}-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("secret", "name"),
    [
        ("ghp_" + "a1B2" * 9, "GitHub token"),
        ("github_pat_" + "a1B2" * 9, "GitHub token"),
        ("sk-proj-" + "a1B2" * 9, "API key"),
        ("sk-ant-api03-" + "a1B2" * 9, "API key"),
        ("AKIA" + "ABCD" * 4, "AWS key"),
        ("AIza" + "a" * 35, "Google key"),
        ("xoxb-1234567890-abc", "Slack token"),
        ("hf_" + "a" * 34, "Hugging Face token"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSM", "JWT"),
        (KEY, "private key"),
        (KEY.replace("\n", "\\n"), "private key"),
        (KEY[:150], "private key"),
    ],
)
def test_tokens_of_known_forms_are_taken_out(secret: str, name: str) -> None:
    assert redacted(f"x = '{secret}'; y", NONE) == f"x = '[redacted: {name}]'; y"


def test_a_password_in_an_address_goes_and_the_host_stays() -> None:
    text = redacted("https://me:hunter2hunter2@github.com/a/b", NONE)
    assert text == "https://[redacted: password]@github.com/a/b"


def test_secrets_of_the_environment_are_taken_out_and_paths_and_short_values_are_not() -> None:
    environment = {"MY_API_KEY": "swordfish-9", "SSH_AUTH_SOCK": "/tmp/agent", "TOKEN_N": "12",
                   "HOME": "/root/home-of-me", "EDITOR": "swordfish"}  # fmt: skip
    text = "swordfish-9 /tmp/agent 12 /root/home-of-me swordfish"
    expected = "[redacted: the value of MY_API_KEY] /tmp/agent 12 /root/home-of-me swordfish"
    assert readable(text, environment) == expected


@pytest.mark.parametrize(
    "text",
    ["sk-learn is a package", "a sha: " + "0f" * 20, "-----BEGIN CERTIFICATE-----", "eyJ is base64",
     "http://localhost:8000/a@b", "ghp_short", "-----BEGIN PRIVATE KEY----- is how it begins"],
)  # fmt: skip
def test_what_only_looks_alike_stays(text: str) -> None:
    assert redacted(text, NONE) == text


def test_four_megabytes_take_no_time() -> None:
    line = "the quick brown fox sk- eyJ gh A aws :// -----BEGIN PRIVATE KEY-----\n"
    text = (line * 60_000)[:4_000_000]
    started = time.process_time()
    readable(text, NONE)
    assert time.process_time() - started < 30
