"""A folder whose content is not trusted: agents write there. No operation follows a symbolic link out of it.

Each folder on the way is opened relative to the one before and without following links, so that a link that appears
meanwhile changes nothing. Where the platform cannot do that (Windows), each part is checked to be no link instead.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from runstead.private_files import DIRECTORY_MODE, make_directory

_AT: Final = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW") and hasattr(os, "O_DIRECTORY")
_FOLDER: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_READ: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_MAX_DEPTH: Final = 64


class SafeTree:
    """The tree below ``root``. Paths are sequences of checked names."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def open_file(self, parts: Sequence[str]) -> int:
        """Return a descriptor of a regular file. Raises OSError, as for a missing file if it is none."""
        with self._folder(parts[:-1]) as (folder, path):
            found = os.open(parts[-1], _READ, dir_fd=folder) if _AT else os.open(_no_link(path / parts[-1]), _READ)
        if not stat.S_ISREG(os.fstat(found).st_mode):
            os.close(found)
            raise FileNotFoundError(parts[-1])
        return found

    def move_in(self, source: Path, parts: Sequence[str]) -> None:
        """Move a finished file to its path, in place of an existing file or link. Creates folders. Raises OSError."""
        make_directory(self.root)
        with self._folder(parts[:-1], create=True) as (folder, path):
            if _AT:
                os.replace(source, parts[-1], dst_dir_fd=folder)
                os.fsync(folder)
            else:
                source.replace(path / parts[-1])

    def unlink(self, parts: Sequence[str]) -> None:
        """Delete a file or link. Raises OSError."""
        with self._folder(parts[:-1]) as (folder, path):
            if _AT:
                os.unlink(parts[-1], dir_fd=folder)
            else:
                (path / parts[-1]).unlink()

    def walk(self) -> Iterator[tuple[tuple[str, ...], os.stat_result]]:
        """Yield all regular files with their state, sorted within each folder. Links are skipped."""
        yield from self._walk(())

    def _walk(self, parts: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], os.stat_result]]:
        try:
            with self._folder(parts) as (folder, path), os.scandir(folder if _AT else path) as entries:
                found = sorted(((each.name, each.stat(follow_symlinks=False)) for each in entries), key=_name)
        except OSError:
            # Missing, or deleted meanwhile.
            return
        for name, state in found:
            if stat.S_ISREG(state.st_mode):
                yield (*parts, name), state
            elif stat.S_ISDIR(state.st_mode) and len(parts) < _MAX_DEPTH:
                yield from self._walk((*parts, name))

    @contextmanager
    def _folder(self, parts: Sequence[str], *, create: bool = False) -> Iterator[tuple[int, Path]]:
        """Yield a descriptor of a folder (only if the platform can use one), and its path."""
        if not _AT:
            yield -1, self._checked(parts, create)
            return
        current = os.open(self.root, _FOLDER)
        try:
            for part in parts:
                if create:
                    with suppress(FileExistsError):
                        os.mkdir(part, DIRECTORY_MODE, dir_fd=current)
                deeper = os.open(part, _FOLDER, dir_fd=current)
                os.close(current)
                current = deeper
            yield current, self.root.joinpath(*parts)
        finally:
            os.close(current)

    def _checked(self, parts: Sequence[str], create: bool) -> Path:
        path = self.root
        for part in parts:
            path = _no_link(path / part)
            if create:
                path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        return path


def _name(entry: tuple[str, os.stat_result]) -> str:
    return entry[0]


def _no_link(path: Path) -> Path:
    if path.is_symlink() or os.path.realpath(path.parent) != os.path.realpath(path).rpartition(os.sep)[0]:
        raise FileNotFoundError(path)
    return path
