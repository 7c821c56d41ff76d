"""What a stored state belongs to: two states with equal digests can be exchanged; reads no weight.

Everything that changes what a state means is in it, so a store never has to guess.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from inference.errors import ModelUnavailable

FORMAT = 2
"""Of the files of a store; it is part of the digest, so each version has folders of its own."""
MAX_HEADER_BYTES = 1 << 24
SAMPLE_BYTES = 1 << 16


@dataclass(frozen=True)
class Identity:
    """A model as it is run, and the prompt's fixed part; all strings, "" where there is none."""

    model: str
    """`fingerprint` of the checkpoint."""
    revision: str
    quantization: str
    kv_dtype: str
    state_dtype: str
    template: str
    """Hash of the chat template and the tools as it renders them."""
    shape: str
    """Layers, heads, dimensions."""

    @property
    def digest(self) -> str:
        """The name of its folder in a store, for this format of the files: 24 hex digits."""
        words = json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(words.encode()).hexdigest()[:24]


def fingerprint(folder: Path) -> str:
    """Return a name for the weights in a checkpoint's folder, without reading all of them.

    Its configuration, and of each weight file name, size, time of change, header, and both ends.
    GGUF files hold a configuration of their own.

    Raises:
        ModelUnavailable: it is no checkpoint's folder, or cannot be read.
    """
    digest = hashlib.sha256()
    try:
        gguf_files = sorted(folder.glob("*.gguf"))
        if not gguf_files or (folder / "config.json").exists():
            digest.update((folder / "config.json").read_bytes())
        for file in (*sorted(folder.glob("*.safetensors")), *gguf_files):
            with file.open("rb") as stream:
                status = os.fstat(stream.fileno())
                words = [file.name, status.st_size, status.st_mtime_ns]
                digest.update(json.dumps(words).encode())
                digest.update(_sample(stream, status.st_size))
    except OSError as error:
        raise ModelUnavailable(
            f"{error.filename or folder} cannot be read ({error.strerror}); "
            "give the folder of a checkpoint."
        ) from error
    return digest.hexdigest()


def _sample(stream: BinaryIO, nbytes: int) -> bytes:
    """Read the header and the first and last bytes of the tensors."""
    num_header_bytes = min(int.from_bytes(stream.read(8), "little"), MAX_HEADER_BYTES)
    front = stream.read(num_header_bytes + SAMPLE_BYTES)
    stream.seek(max(0, nbytes - SAMPLE_BYTES))
    return front + stream.read(SAMPLE_BYTES)
