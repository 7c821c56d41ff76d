"""A workspace beside which further folders of the person are read: by their paths from the root.

Nothing is written there: the changes of a talk are saved, judged and undone in one repository.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from sandbox.errors import PathRefused
from sandbox.workspace import HERE, Workspace


class WithFurther(Workspace):
    """One folder to work in, and some to look at; each path below one of those stays absolute."""

    def __init__(
        self,
        root: Path,
        seen_as: Path,
        folder: PurePosixPath = HERE,
        obeyed: tuple[PurePosixPath, ...] = (),
        further: Sequence[Path] = (),
    ) -> None:
        """Open the folder `root` as a `Workspace` does, and `further` ones where they are."""
        super().__init__(root, seen_as, folder, obeyed)
        self._further = [Workspace(one, one) for one in further]

    def resolve(self, text: str) -> PurePosixPath:
        """Turn a path into one relative to the workspace, or into one from the root below a folder.

        Raises:
            PathRefused: it lies elsewhere, by its words alone.
        """
        beside = self._beside(PurePosixPath(os.path.normpath(text)) if text[:1] == "/" else HERE)
        if beside is None:
            return super().resolve(text)
        return PurePosixPath(beside.seen_as, beside.resolve(text))

    def _refuse_protected(self, path: str, relative: PurePosixPath) -> None:
        if self._beside(relative) is not None:
            raise PathRefused(f"{path} is outside of the repository: it is read and not changed.")
        super()._refuse_protected(path, relative)

    def _real(self, path: str, relative: PurePosixPath) -> PurePosixPath:
        if (beside := self._beside(relative)) is None:
            return super()._real(path, relative)
        real = beside._real(path, relative.relative_to(beside.seen_as))
        return PurePosixPath(beside.seen_as, real)

    @contextmanager
    def _opened(self, path: PurePosixPath, flags: int, follow: bool = True) -> Iterator[int]:
        beside = self._beside(path)
        if beside is None:
            opened = super()._opened(path, flags, follow)
        else:
            opened = beside._opened(path.relative_to(beside.seen_as), flags, follow)
        with opened as fd:
            yield fd

    def _beside(self, path: PurePosixPath) -> Workspace | None:
        """Return the further folder that a path lies below, if it does."""
        found = (one for one in self._further if path.is_relative_to(one.seen_as))
        return next(found, None)
