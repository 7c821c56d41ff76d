"""A Python with pytest and nothing else, for the tests of generated repositories.

What else is installed beside the agent (hypothesis, xdist, a plugin of yours) then neither slows
those tests down nor changes what they print.
"""

import os
import shutil
import subprocess
import venv
from importlib.metadata import distribution
from pathlib import Path

PACKAGES = ("pytest", "pluggy", "iniconfig", "packaging", "pygments")
"""pytest and what it imports on Linux."""


def make_plain_python(folder: Path) -> Path:
    """Make a virtual environment in `folder` with our own pytest; return its interpreter."""
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    (site,) = folder.glob("lib/python3*/site-packages")
    for name in PACKAGES:
        _copy(name, site)
    _compile(python, folder)
    return python


def _copy(name: str, site: Path) -> None:
    for file in distribution(name).files or ():
        if ".." not in file.parts:  # its command, which nobody calls
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(str(file.locate())), target)


def _compile(python: Path, folder: Path) -> None:
    """Run one test, so that what pytest imports is compiled; in a sandbox it could not be kept."""
    test = folder / "test_nothing.py"
    test.write_text("def test_nothing():\n    pass\n", encoding="utf-8")
    environment = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    words = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junit-xml=x.xml"]
    subprocess.run(
        [*words, test.name],
        cwd=folder,
        env=environment,
        check=True,
        timeout=120,
        capture_output=True,
    )
