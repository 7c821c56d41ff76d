"""Pictures that come inside a request, as files that the engine can read."""

import base64
import binascii
import hashlib
import re
from pathlib import Path

from inference.errors import PictureUnreadable
from inference.messages import Picture
from inference.pictures import MAX_FILE_BYTES, read_picture

_DATA = re.compile(r"data:image/(png|jpeg|jpg|webp|gif|bmp);base64,", re.IGNORECASE)


def picture_of(address: str, folder: Path) -> Picture:
    """Keep the picture that a data address holds.

    Raises:
        PictureUnreadable: it is none, or is elsewhere: nothing is fetched from a network.
    """
    start = _DATA.match(address)
    if start is None:
        raise PictureUnreadable(
            "a picture must come as a data: address in base64 (png, jpeg, webp, gif, bmp); "
            "nothing is fetched"
        )
    if len(address) > 2 * MAX_FILE_BYTES:
        raise PictureUnreadable(f"a picture may have {MAX_FILE_BYTES // 1_000_000} MB")
    try:
        content = base64.b64decode(address[start.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise PictureUnreadable("a picture is not in base64") from error
    file = folder / f"{hashlib.sha256(content).hexdigest()}.{start[1].lower()}"
    if not file.exists():
        file.write_bytes(content)
    return read_picture(file)
