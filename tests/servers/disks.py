"""Small disks, and full ones."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_BLOCKS: Final = (1024 * 1024, 4_096)
"""Sizes in bytes of the written chunks: large ones first."""


def fill(folder: Path) -> Path:
    """Fill the file system of a folder; return the file that fills it."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        for block in _BLOCKS:
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * block)
    return filler


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Keep the file system of ``folder`` full for the length of a block."""
    filler = fill(folder)
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[bool]:
    """Mount a file system of this size, in memory, on ``folder``. Return False without the privilege to mount."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(folder)]
    is_mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)
