"""Text from elsewhere made fit to show: to a person, to the model, in a log. Pure functions.

`clean` (truncate.py) takes out what a terminal obeys. `shown` also spells what no eye sees: marks
that reorder text, characters without width, tags that hide whole sentences. `readable` also takes
out secrets. The text of files stays exact where it is to be edited: there only the screen is clean.
"""

import os
import re
from collections.abc import Mapping

from tools.truncate import clean

_NEVER_SEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f\U000e0100-\U000e01ef"
)
_JOINER = "[\u200c\u200d]"
_WRITTEN = "[^\x00-\x7f]"
"""Between two such characters a joiner belongs to the script, or to one picture."""
_HIDDEN = re.compile(f"(?:[{_NEVER_SEEN}]|(?<!{_WRITTEN}){_JOINER}|{_JOINER}(?!{_WRITTEN}))+")
MAX_SPELLED = 4
"""Of one run; of a longer one only the number is told, since its text may be meant to mislead."""

TOKENS = (
    *(("GitHub token", f"gh{kind}_", r"[A-Za-z0-9]{36,255}\b") for kind in "pousr"),
    ("GitHub token", "github_pat_", r"[A-Za-z0-9_]{22,255}\b"),
    ("GitLab token", "glpat-", r"[A-Za-z0-9_-]{20,}"),
    ("API key", "sk-", r"(?:[a-z]+[0-9]*-)*[A-Za-z0-9_]{20,}[A-Za-z0-9_-]*"),
    ("AWS key", "AKIA", r"[A-Z0-9]{16}\b"),
    ("AWS key", "ASIA", r"[A-Z0-9]{16}\b"),
    ("Google key", "AIza", r"[A-Za-z0-9_-]{35}\b"),
    ("Slack token", "xox", r"[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("Hugging Face token", "hf_", r"[A-Za-z0-9]{30,}\b"),
    ("npm token", "npm_", r"[A-Za-z0-9]{36}\b"),
    ("PyPI token", "pypi-", r"AgE[A-Za-z0-9_-]{50,}"),
    ("Stripe key", "sk_live_", r"[A-Za-z0-9]{20,}"),
    ("Stripe key", "rk_live_", r"[A-Za-z0-9]{20,}"),
    ("JWT", "eyJ", r"[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
)
"""What is taken out, how it begins (not inside a word), and how it goes on."""
_BREAK = r"(?:\s|\\n)"
_FORMS = (
    # The beginning comes first, so that it is searched for as fast as a word.
    *((name, re.compile(f"{start}(?<!\\w{start}){rest}")) for name, start, rest in TOKENS),
    ("AWS secret", re.compile(r"(?i)(?<=aws_secret_access_key)\W{1,5}[A-Za-z0-9/+]{40}\b")),
    ("password", re.compile(r"(?<=://)[^/\s:@]{1,100}:[^/\s@:]{8,}(?=@)")),
    (
        "private key",
        re.compile(
            r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----"
            # Nothing possessive: Python 3.11.2 loses its way in such groups, 3.11.7 does not. It is
            # not needed either: a break is no part of a line, so one way is all there is.
            rf"(?:{_BREAK}+[A-Za-z0-9+/=]{{32,}})+"
            rf"(?:{_BREAK}+[A-Za-z0-9+/=]{{1,31}}(?={_BREAK}*-----END))?"
            rf"(?:{_BREAK}*-----END [A-Z0-9 ]*-----)?"
        ),
    ),
)
_SECRET_NAME = re.compile(r"(?i)KEY|TOKEN|SECRET|PASSW|CREDENTIAL|(?:^|_)AUTH")
MIN_VALUE = 8
"""A shorter value stands in too many texts by chance."""


def shown(text: str) -> str:
    """Return text with nothing in it that acts on a screen or hides from an eye."""
    cleaned = clean(text)
    return cleaned if cleaned.isascii() else _HIDDEN.sub(_spelled, cleaned)


def num_hidden(text: str) -> int:
    """Count the characters that `shown` has to spell."""
    return sum(len(run[0]) for run in _HIDDEN.finditer(text))


def beware(text: str) -> str:
    """Say how much in a text is hidden; nothing if nothing is."""
    num = num_hidden(text)
    return f"[Beware: {num} characters here are hidden from the eye.]" if num else ""


def readable(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return what was printed as a person or a model is to read it, secrets taken out."""
    return redacted(shown(text), environment)


def redacted(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return text without secrets of this process's environment and tokens of known forms."""
    for name, value in environment.items():
        # A path is where a secret lies (SSH_AUTH_SOCK), not one.
        is_secret = len(value) >= MIN_VALUE and value[0] != "/" and _SECRET_NAME.search(name)
        if is_secret and value in text:
            text = text.replace(value, f"[redacted: the value of {name}]")
    for name, form in _FORMS:
        text = form.sub(f"[redacted: {name}]", text)
    return text


def _spelled(run: re.Match[str]) -> str:
    if len(run[0]) > MAX_SPELLED:
        return f"<{len(run[0])} hidden characters>"
    return "".join(f"<U+{ord(letter):04X}>" for letter in run[0])
