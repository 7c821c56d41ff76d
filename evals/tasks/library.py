"""The code that mutants are made of: a person's folder, or a release fetched from the index.

A release is fetched by pip, an sdist since wheels have no tests. pip runs the release's own build
code to learn its name, so it does that in the sandbox, where it reaches the index and nothing else.
"""

import os
import re
import sys
import tarfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from agent.errors import UsageError
from evals.tasks.cache import alone_in, cache_folder
from evals.tasks.repository import digest_of
from sandbox.base import View
from sandbox.choose import choose
from sandbox.limits import Limits
from sandbox.proxy import Proxy
from sandbox.remove import remove_tree, temporary_folder
from tools.project import detect_environment

RELEASE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!+_-]+)")
INDEX = "https://pypi.org/simple"
FILES = "files.pythonhosted.org"
"""Where the files of that index lie."""
FETCH_S = 300.0
CERTIFICATES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
"""Variables that name who may vouch for the index."""


@dataclass(frozen=True)
class Library:
    """Files that are not changed, and what they are called."""

    name: str
    folder: Path
    digest: str
    """Of all files."""


def open_library(source: str) -> Library:
    """Open a folder, or `name==version`, which is fetched if it is not here.

    Raises:
        UsageError: there is no such folder or release.
    """
    release = RELEASE.fullmatch(source)
    if release and not Path(source).exists():
        folder = _fetched(release[1], release[2])
        return Library(f"{release[1]}-{release[2]}", folder, digest_of(folder))
    folder = Path(source).expanduser().resolve()
    if not folder.is_dir():
        raise UsageError(f"{source} is no folder, and no release such as toolz==1.2.0")
    return Library(folder.name, folder, digest_of(folder))


def _fetched(name: str, version: str) -> Path:
    folder = cache_folder() / "libraries" / f"{name}-{version}"
    with alone_in(folder):
        if not (folder / "tree").exists():
            with temporary_folder(folder, "fetch-") as here:
                archive = _download(name, version, here)
                unpacked = _unpacked(archive, here / "unpacked")
                unpacked.rename(folder / "tree")
    return folder / "tree"


def _download(name: str, version: str, folder: Path) -> Path:
    """Fetch the sdist of a release.

    Raises:
        UsageError: it cannot be had.
    """
    python = Path(sys.executable)
    environment = detect_environment(folder, python)
    index = os.environ.get("PIP_INDEX_URL", INDEX)
    host = urlsplit(index).hostname or ""
    settings, certificates = _settings(index, os.environ)
    words = ("-m", "pip", "download", "--no-deps", "--no-binary", name, "--dest", ".")
    with closing(_way_to(host)) as proxy:
        view = View(
            folder,
            folder,
            read_only=(*environment.read_only, *certificates),
            network=proxy.socket,
            path=environment.path,
            environment={**environment.variables, **settings},
        )
        limits = environment.widened(Limits(wall_s=FETCH_S))
        argv = (str(python), *words, f"{name}=={version}")
        result = choose("bubblewrap").run(argv, view, limits)
    found = sorted(folder.glob("*.tar.gz"))
    if result.exit_code != 0 or not found:
        lines = [line for line in result.output.split("\n") if line.startswith("ERROR")]
        why = lines[-1] if lines else f"pip ended with exit code {result.exit_code}"
        raise UsageError(f"the sdist of {name}=={version} cannot be fetched from {host}: {why}")
    return found[0]


def _way_to(host: str) -> Proxy:
    """Open the way to the index; whoever names one may name one of their own network.

    Raises:
        UsageError: its host has no name that could be allowed.
    """
    try:
        return Proxy((host, FILES), is_public=lambda _: True)
    except ValueError as error:
        raise UsageError(f"PIP_INDEX_URL: {error}") from error


def _settings(index: str, variables: Mapping[str, str]) -> tuple[dict[str, str], tuple[Path, ...]]:
    """What pip and the pip that it starts are told, and the files they need for it."""
    settings = {"PIP_INDEX_URL": index, "PIP_NO_CACHE_DIR": "1", "PIP_NO_INPUT": "1"}
    named = next((variables[key] for key in CERTIFICATES if variables.get(key)), "")
    if not named:
        return settings, ()
    return {**settings, "PIP_CERT": named}, (Path(named).resolve(),)


def _unpacked(archive: Path, folder: Path) -> Path:
    """Unpack an sdist; return the one folder in it.

    Raises:
        UsageError: it is none.
    """
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, OSError) as error:
        remove_tree(folder)
        raise UsageError(f"{archive.name} cannot be unpacked: {error}") from error
    inside = [path for path in folder.iterdir() if path.is_dir()]
    if len(inside) != 1:
        raise UsageError(f"{archive.name} is no sdist: it should hold one folder")
    return inside[0]
