"""Users' files in a backup: which to include, which names are valid, and where they may be restored."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Final

from runstead.infra.files.keys import key_parts
from runstead.infra.files.safe_tree import SafeTree
from runstead.workspace import InvalidFilePath

from .exceptions import TransferError

FILES: Final = "files"
"""Folder of the files in a backup."""


def files_in(folder: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    """Yield the files of users. No link that an agent has made is followed."""
    tree = SafeTree(folder)
    for parts, _ in tree.walk():
        name = "/".join((FILES, *parts))
        if is_file(name):
            yield name, partial(_read_in, tree, parts)


def is_file(name: str) -> bool:
    """Return whether a member of a backup is a file of a user, with a path that leads nowhere else."""
    try:
        key_parts(name.removeprefix(f"{FILES}/"))
    except InvalidFilePath:
        return False
    return name.startswith(f"{FILES}/")


def refuse_existing(files: Path) -> None:
    """Raise TransferError if a folder has files of users already."""
    if files.is_dir() and any(not path.name.startswith(".") for path in files.iterdir()):
        raise TransferError(f"{files} has files already; move it away, or set files_dir to another folder")


def _read_in(tree: SafeTree, parts: Sequence[str]) -> IO[bytes]:
    return os.fdopen(tree.open_file(parts), "rb")
