"""One Python with pytest alone, shared by the tests of a process that run other tests in it."""

import atexit
import tempfile
from functools import cache
from pathlib import Path

from evals.nano.plain_python import make_plain_python


@cache
def plain_python() -> Path:
    """Return its interpreter; it is gone when the process is."""
    folder = tempfile.TemporaryDirectory(prefix="plain-python-")
    atexit.register(folder.cleanup)
    return make_plain_python(Path(folder.name))
