"""Quantized weights, kept from one start to the next in the user's cache folder.

The name of a file is made of all that its numbers depend on: the files of the checkpoint as they
are, the kind of weights, and the version of the format. Nothing is ever changed in place; a new
file removes those of the same folder as it was before, and no other.
"""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from inference.identity import fingerprint
from inference.packed_files import SUFFIX, replaced_by
from inference.stack import StackFormat
from inference.weight_file import DamagedWeights, mapped

LOG = logging.getLogger(__name__)
FORMAT = 1
"""Grows with every change of what the numbers in a file are."""


def packed_file(checkpoint: Path, kind: StackFormat, folder: Path) -> Path:
    """Return the file of a checkpoint's weights in this form, whether it is there or not."""
    words = f"{FORMAT} {kind} {fingerprint(checkpoint)}"
    digest = hashlib.sha256(words.encode()).hexdigest()[:16]
    name = checkpoint.name if checkpoint.parent.name != "snapshots" else checkpoint.parents[1].name
    return folder / f"{name.removeprefix('models--')}-{kind}-{digest}{SUFFIX}"


def kept(file: Path, checkpoint: Path, write: Callable[[Path], None]) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint's file; `write` makes one that is missing or damaged.

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
    for old in replaced_by(file, checkpoint):
        old.path.unlink(missing_ok=True)
        LOG.info("removed %s, which the new one replaces", old.path)
    return mapped(file)
