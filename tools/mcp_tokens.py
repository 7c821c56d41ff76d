"""What a login at a remote MCP server gave, in a file that only its user can read (0600)."""

import json
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp.shared.auth import OAuthClientInformationFull, OAuthMetadata, OAuthToken

EARLY_S = 30.0
"""So long before its end a token counts as over."""


class Tokens:
    """The file of one server, as the SDK wants to store things; without one nothing is known."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._record = _read(path)

    @property
    def are_there(self) -> bool:
        """Whether a login has been made."""
        return "tokens" in self._record

    @property
    def expires_at(self) -> float | None:
        """When the token is over, on the clock of the day; None if nobody said so."""
        at = self._record.get("expires_at")
        return at if isinstance(at, float) else None

    @property
    def metadata(self) -> "OAuthMetadata | None":
        """What the login server has said of itself."""
        from mcp.shared.auth import OAuthMetadata

        found = self._record.get("metadata")
        return None if found is None else OAuthMetadata.model_validate(found)

    def forget(self) -> None:
        """Begin anew; what is on disk stays until something new is there."""
        self._record = {}

    def keep_metadata(self, metadata: "OAuthMetadata | None") -> None:
        """Remember where tokens are renewed."""
        if metadata is not None:
            self._keep(metadata=metadata.model_dump(mode="json", exclude_none=True))

    # ---- what the SDK calls

    async def get_tokens(self) -> "OAuthToken | None":
        """Return the tokens."""
        from mcp.shared.auth import OAuthToken

        return OAuthToken.model_validate(self._record["tokens"]) if self.are_there else None

    async def set_tokens(self, tokens: "OAuthToken") -> None:
        """Keep new ones."""
        lasts_s = tokens.expires_in
        at = None if lasts_s is None else time.time() + lasts_s - EARLY_S
        self._keep(tokens=tokens.model_dump(mode="json", exclude_none=True), expires_at=at)

    async def get_client_info(self) -> "OAuthClientInformationFull | None":
        """Return as whom we are known there."""
        from mcp.shared.auth import OAuthClientInformationFull

        found = self._record.get("client")
        return None if found is None else OAuthClientInformationFull.model_validate(found)

    async def set_client_info(self, client_info: "OAuthClientInformationFull") -> None:
        """Keep as whom we are known there; written down with the tokens."""
        self._record["client"] = client_info.model_dump(mode="json", exclude_none=True)

    def _keep(self, **values: Any) -> None:
        """Write all of it, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        self._record |= values
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self._path.with_name(f".{secrets.token_hex(8)}.tmp")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(fd, "w", encoding="ascii") as file:
                json.dump(self._record, file)
            fresh.replace(self._path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise


def _read(path: Path) -> dict[str, Any]:
    """Return what is kept; a file that others could have written or read is not believed."""
    with suppress(OSError, ValueError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(fd)
            if status.st_uid == os.geteuid() and not status.st_mode & 0o077:
                found = json.load(file)
                return found if isinstance(found, dict) else {}
    return {}
