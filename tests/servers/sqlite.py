"""SQLite files that are up to date before a test opens them: brought there once, and copied for each."""

from __future__ import annotations

import asyncio
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from runstead.infra.storage.sqlite import open_storage


def current(path: Path) -> Path:
    """``path``, where an empty database with the schema of this version is, unless there was one already."""
    if not path.exists():
        path.write_bytes(_current())
    return path


def current_data(data_dir: Path) -> Path:
    """``data_dir``, where a server has been that kept nothing, unless there was one already."""
    data_dir.mkdir(exist_ok=True)
    current(data_dir / "runstead.db")
    return data_dir


@cache
def _current() -> bytes:
    async def make(path: Path) -> None:
        async with open_storage(path):
            pass

    # In a thread: whoever asks for it first may be on an event loop.
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as thread:
        path = Path(folder) / "empty.db"
        thread.submit(asyncio.run, make(path)).result()
        return path.read_bytes()
