"""SQLite files that are up to date before a test opens them: migrated once, and copied for each test."""

from __future__ import annotations

import asyncio
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from runstead.infra.storage.sqlite import open_storage


def current(path: Path) -> Path:
    """Return ``path`` with an empty database of the current schema, unless a file exists there."""
    if not path.exists():
        path.write_bytes(_current())
    return path


def current_data(data_dir: Path) -> Path:
    """Return ``data_dir`` as left by a server without data, unless it exists."""
    data_dir.mkdir(exist_ok=True)
    current(data_dir / "runstead.db")
    return data_dir


@cache
def _current() -> bytes:
    async def make(path: Path) -> None:
        async with open_storage(path):
            pass

    # In a thread: the first caller may be on an event loop.
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as thread:
        path = Path(folder) / "empty.db"
        thread.submit(asyncio.run, make(path)).result()
        return path.read_bytes()
