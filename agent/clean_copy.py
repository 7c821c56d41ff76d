"""Makes the tree that is judged: the patched files with the original tests and configuration.

The patched tree is the work of a model, so it is read without following a link out of it, and
nothing is written through a link that lies in it.
"""

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from agent.deciding_files import decides_tests, is_rule_by_name, shadows_runner
from agent.support_files import Deciding
from sandbox.checkpoint import Checkpoint
from sandbox.remove import remove_tree
from sandbox.snapshot import LINK, File, is_too_deep

FOREIGN_FOLDERS = frozenset({".git", "node_modules", "site-packages"})


def restore_deciding_files(
    copy: Path, checkpoint: Checkpoint, base: str, deciding: Deciding
) -> tuple[str, ...]:
    """Put every test-deciding file of `copy` back to what it was at `base`; return their paths.

    Those that no rule knows by name are in `deciding`. New test files go, and so does compiled
    code: a planted one would be run in place of its source.
    """
    left_out: list[str] = []
    # Of a package only what has its own name: new modules in it are ordinary ones.
    modules = frozenset(
        path.removesuffix(".py") for path in deciding.paths if not path.endswith("/__init__.py")
    )
    changed = set(checkpoint.changed(base))
    for path in sorted(changed | set(_paths_by_name(copy))):
        original = checkpoint.entry(base, path)
        if original is None:
            is_rule = decides_tests(path) or shadows_runner(path) or deciding.is_selected(path)
            is_rule = is_rule or path in deciding.paths or _stands_for(path, modules)
            if is_rule and _remove(copy, path) and path in changed:
                left_out.append(path)
        elif decides_tests(path) or path in deciding.paths:
            data = checkpoint.file(base, path)
            assert data is not None, path
            if not _holds(copy, path, original, data):
                _write(copy, path, original, data)
                left_out.append(path)
    return tuple(left_out)


def put_back(copy: Path, checkpoint: Checkpoint, base: str, paths: Collection[str]) -> None:
    """Make files of `copy` what they were at `base`."""
    for path in paths:
        original, data = checkpoint.entry(base, path), checkpoint.file(base, path)
        if original is None or data is None:
            _remove(copy, path)
        else:
            _write(copy, path, original, data)


def _stands_for(path: str, modules: Collection[str]) -> bool:
    """Whether a new file would be imported in place of one of `modules`."""
    place = PurePosixPath(path)
    own = place.with_name(place.name.split(".")[0] or place.name)
    return str(own) in modules or any(str(folder) in modules for folder in place.parents)


def _paths_by_name(copy: Path) -> Iterator[str]:
    """Files that a checkpoint may not know, because something told it to ignore them."""
    for folder, folders, names in os.walk(copy):
        here = Path(folder)
        if is_too_deep(here.relative_to(copy).as_posix()):
            folders.clear()
        for name in list(folders):
            if name == "__pycache__" or _is_cargo_output(here / name):
                remove_tree(here / name)
                folders.remove(name)
            elif name in FOREIGN_FOLDERS or (here / name / "pyvenv.cfg").is_file():
                folders.remove(name)
        links = [name for name in folders if (here / name).is_symlink()]
        for name in (*names, *links):
            path = (here / name).relative_to(copy).as_posix()
            if is_rule_by_name(path) or shadows_runner(path):
                yield path


def _is_cargo_output(folder: Path) -> bool:
    """Whether cargo would take what lies there for the tests it has built."""
    return folder.name == "target" and (folder / "CACHEDIR.TAG").is_file()


def _place(copy: Path, path: str) -> Path:
    """Find where a file of the copy lies; a link or a file in the place of a folder goes."""
    parts = PurePosixPath(path).parts
    assert ".." not in parts, path
    place = copy
    for part in parts[:-1]:
        place = place / part
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            place.unlink()
    return copy.joinpath(*parts)


def _remove(copy: Path, path: str) -> bool:
    place = _place(copy, path)
    if place.is_dir() and not place.is_symlink():
        remove_tree(place)
    elif place.is_symlink() or place.exists():
        place.unlink()
    else:
        return False
    return True


def _holds(copy: Path, path: str, original: File, data: bytes) -> bool:
    place = copy
    for part in PurePosixPath(path).parts[:-1]:
        place = place / part
        if place.is_symlink():
            return False
    place = copy / path
    if place.is_symlink():
        return original.mode == LINK and os.fsencode(place.readlink()) == data
    if original.mode == LINK or not place.is_file():
        return False
    same_mode = stat.S_IMODE(place.stat().st_mode) == original.permissions
    return same_mode and place.read_bytes() == data


def _write(copy: Path, path: str, original: File, data: bytes) -> None:
    """Write a file that is a new one for sure, so that no link is written through."""
    _remove(copy, path)
    place = copy / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if original.mode == LINK:
        place.symlink_to(os.fsdecode(data))
        return
    with place.open("xb") as file:
        file.write(data)
    place.chmod(original.permissions)
