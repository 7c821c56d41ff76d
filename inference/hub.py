"""A folder, or a hub id that is downloaded once, as a folder; knows nothing of what is in it.

Of a model that was pulled it is the revision that was pulled, without a question to the hub.
"""

import re
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: the hub's client's
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
)
from huggingface_hub.utils.tqdm import tqdm

from inference.door import LoadProgress, OnProgress
from inference.errors import ModelUnavailable, first_line
from inference.manifest import HUB_ID
from inference.pins import pin_of, pinned_folder

PATTERNS = ["*.safetensors", "*.json", "*.jinja"]
"""What is downloaded; a repository may hold the same weights in three more forms."""


def folder_of(where: str, on_progress: OnProgress | None) -> Path:
    """Return the folder itself, or the one that a hub id was downloaded to.

    Raises:
        ModelUnavailable: there is neither, or its pin cannot be read.
    """
    folder = Path(where).expanduser()
    if where.strip() and folder.is_dir():
        return folder
    if not re.fullmatch(HUB_ID, where):
        raise ModelUnavailable(
            f"{where} is neither a folder nor a hub id; give a checkpoint's folder or owner/name."
        )
    if pulled := pinned_folder(where):
        return pulled
    pin = pin_of(where)
    try:
        return Path(
            snapshot_download(
                where,
                revision=pin.revision if pin else None,
                allow_patterns=PATTERNS,
                tqdm_class=progress_bar(on_progress or _ignore),
            )
        )
    except LocalEntryNotFoundError as error:
        raise ModelUnavailable(
            f"{where} is no folder here and cannot be downloaded: the hub is not reached, or "
            "HF_HUB_OFFLINE is set; go online once, or give the folder of a checkpoint."
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        if pin:
            raise ModelUnavailable(
                f"Files are missing here of the revision that {where} is pinned to, and the hub "
                f"does not give them out; `qwen-agent models pull {where}` pins what it has now."
            ) from error
        raise ModelUnavailable(
            f"{where} is no folder here and the hub does not give it out: check the name, or run "
            "`hf auth login` if it is private or gated."
        ) from error
    except (OSError, HTTPError) as error:
        raise ModelUnavailable(
            f"The download of {where} broke off ({first_line(error)}); "
            "run the same again, it goes on from there."
        ) from error


def _ignore(_progress: LoadProgress) -> None:
    pass


def progress_bar(on_progress: OnProgress) -> type[Any]:
    """Make a bar that draws nothing; the one that counts bytes reports them."""

    class Reporter(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.counts_bytes = kwargs.get("unit") == "B"
            kwargs["disable"] = True
            kwargs.pop("name", None)
            super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
            self.total = kwargs.get("total")

        def update(self, n: float | None = 1) -> bool | None:
            self.n += n or 0
            if self.counts_bytes:
                on_progress(LoadProgress(int(self.n), int(self.total or self.n)))
            return None

    return Reporter
