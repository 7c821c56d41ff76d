"""Quantized weights, kept from one start to the next in the user's cache folder.

The name of a file is made of all that its numbers depend on: the files of the checkpoint as they
are, the kind of weights, and the version of the format. Nothing is ever changed in place.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from inference.host_address import xdg
from inference.identity import fingerprint
from inference.stack import StackFormat
from inference.weight_file import DamagedWeights, mapped

LOG = logging.getLogger(__name__)
FORMAT = 1
"""Grows with every change of what the numbers in a file are."""


def weights_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where packed weights are kept."""
    return xdg(environment, "XDG_CACHE_HOME", ".cache") / "qwen-agent" / "weights"


def packed_file(checkpoint: Path, kind: StackFormat, folder: Path) -> Path:
    """Return the file of a checkpoint's weights in this form, whether it is there or not."""
    words = f"{FORMAT} {kind} {fingerprint(checkpoint)}"
    digest = hashlib.sha256(words.encode()).hexdigest()[:16]
    name = checkpoint.name if checkpoint.parent.name != "snapshots" else checkpoint.parents[1].name
    return folder / f"{name.removeprefix('models--')}-{kind}-{digest}.safetensors"


def kept(file: Path, write: Callable[[Path], None]) -> dict[str, Tensor]:
    """Return the tensors of a file; `write` makes it where it is missing or damaged.

    Raises:
        ModelUnavailable: it cannot be written.
    """
    if file.exists():
        try:
            return mapped(file)
        except DamagedWeights as error:
            LOG.warning("%s; it is made again", error)
            file.unlink()
    write(file)
    return mapped(file)
