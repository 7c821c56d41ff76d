"""Small files in which a system tells of itself; which one is said by a root."""

from pathlib import Path

ROOT = Path("/")


def text_of(file: Path) -> str:
    """Give what a small file says; nothing if it cannot be read."""
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
