"""Files and directories that only their owner may read, whatever the process's umask is."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700
_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)


def create_private(path: Path) -> None:
    """Create the file, empty, unless it exists. SQLite gives the files that it creates beside it the same mode."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _NO_FOLLOW, FILE_MODE))


def open_new(path: Path) -> int:
    """Return a descriptor of a new file that replaces any existing one. An existing symbolic link is not followed."""
    path.unlink(missing_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, FILE_MODE)


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that replaces any existing one."""
    with os.fdopen(open_new(path), "wb") as file:
        file.write(content)


def append_private(path: Path) -> int:
    """Return a descriptor that appends to the file, which is created if missing. Symbolic links are not followed."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _NO_FOLLOW, FILE_MODE)


def make_directory(path: Path) -> None:
    """Create the directory and missing parents with access for the owner only."""
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            folder.mkdir(mode=DIRECTORY_MODE, exist_ok=True)


def make_private(path: Path) -> None:
    """Remove all access of other users, if the file or directory exists and is ours."""
    with suppress(OSError):
        if not path.is_symlink() and (mode := path.stat().st_mode) & 0o077:
            path.chmod(mode & 0o700)
