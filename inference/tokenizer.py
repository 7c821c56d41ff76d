"""Text to token ids and back, over a checkpoint's tokenizer.json.

Text that comes from files, tools and people is only ever encoded as ordinary characters: no text,
however it is spelled, becomes a control token. Control tokens are asked for by name, by code that
means them. It knows no message and no template; transcript.py does.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tokenizers

from inference.errors import ModelUnavailable


class Tokenizer:
    """A byte-level BPE vocabulary and its control tokens."""

    def __init__(self, definition: str) -> None:
        """Build from the text of a tokenizer.json.

        Raises:
            ModelUnavailable: it is damaged, or not a byte-level vocabulary.
        """
        parsed = _parse(definition)
        self.controls = {str(t["content"]): int(t["id"]) for t in parsed["added_tokens"]}
        self._written = {int(i): str(token) for token, i in parsed["model"]["vocab"].items()}
        # Built without its added tokens: whatever the text says, none can come out.
        # (`encode_special_tokens` would spare only those marked special, and the family's <think>
        # and <tool_call> are not.)
        unused: dict[str, Any] = {"added_tokens": [], "post_processor": None}
        self._plain = _build({**parsed, **unused, "truncation": None, "padding": None})
        self._control_bytes = {i: name.encode() for name, i in self.controls.items()}
        self.vocab_size = max(*self._written, *self._control_bytes) + 1
        """One more than the largest id."""

    @classmethod
    def from_folder(cls, folder: Path) -> "Tokenizer":
        """Read `tokenizer.json` of a checkpoint folder.

        Raises:
            ModelUnavailable: there is none, or it cannot be used.
        """
        file = folder / "tokenizer.json"
        try:
            definition = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise ModelUnavailable(f"{file} cannot be read ({why}); get it again.") from error
        return cls(definition)

    def encode(self, text: str) -> tuple[int, ...]:
        """Encode text as ordinary characters; never yields a control id."""
        # A lone surrogate (an undecodable byte of a file name) has no UTF-8 form.
        clean = text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
        return tuple(self._plain.encode(clean, add_special_tokens=False).ids)

    def has_control(self, name: str) -> bool:
        """Whether the vocabulary has this string as one token."""
        return name in self.controls

    def control(self, name: str) -> int:
        """Return the id of a control token such as `<|im_end|>`.

        Raises:
            ModelUnavailable: the vocabulary lacks it.
        """
        if name not in self.controls:
            raise ModelUnavailable(f"the tokenizer has no token {name}.")
        return self.controls[name]

    def controls_of(self, names: Iterable[str]) -> frozenset[int]:
        """Return the ids of those control tokens that the vocabulary has."""
        return frozenset(self.controls[name] for name in names if name in self.controls)

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes that a token stands for; none for an id past the vocabulary."""
        if token in self._control_bytes:
            return self._control_bytes[token]
        return bytes(_BYTE_OF[letter] for letter in self._written.get(token, ""))

    def decode(self, tokens: Iterable[int]) -> str:
        """Decode ids, control tokens spelled out; a broken character becomes U+FFFD."""
        return b"".join(map(self.token_bytes, tokens)).decode("utf-8", "replace")


def _parse(definition: str) -> dict[str, Any]:
    """Read a tokenizer.json of the kind we can use."""
    try:
        parsed: dict[str, Any] = json.loads(definition)
        names = [token["content"] for token in parsed["added_tokens"]]
        is_usable = bool(parsed["model"]["vocab"]) and _is_byte_level(parsed["decoder"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelUnavailable(f"tokenizer.json is damaged: {error}.") from error
    if not is_usable or not names:
        raise ModelUnavailable("tokenizer.json is not a byte-level vocabulary like Qwen's.")
    return parsed


def _build(parsed: Mapping[str, Any]) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(json.dumps(parsed))
    except Exception as error:  # it raises nothing narrower
        raise ModelUnavailable(f"tokenizer.json is damaged: {error}.") from error


def _is_byte_level(decoder: Any) -> bool:
    """Whether a tokenizer.json decodes as byte-level BPE does."""
    if not isinstance(decoder, dict):
        return False
    steps = decoder.get("decoders", [decoder])
    return any(step.get("type") == "ByteLevel" for step in steps)


def _byte_alphabet() -> dict[str, int]:
    """Return the byte behind each letter of byte-level BPE.

    Printable Latin-1 bytes are written as themselves; the others, in order, as U+0100 onwards.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + n): b for n, b in enumerate(hidden)}


_BYTE_OF = _byte_alphabet()
