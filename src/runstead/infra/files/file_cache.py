"""Local copies of files of a bucket that are kept between runs, by their version in the bucket."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
import uuid
from collections import OrderedDict
from hashlib import sha256
from pathlib import Path
from typing import Final

from runstead.private_files import open_new

_log = logging.getLogger(__name__)

_LARGEST: Final = 4
"""A file is kept if it is at most this part of the cache."""


class FileCache:
    """Files by key and version, at most ``max_bytes`` together; the longest unused ones are deleted first.

    A version never has two contents. The folder belongs to this process and is deleted at its end. A failure of the
    disk is logged, and the file counts as missing.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._used = 0

    async def fetch(self, key: str, version: str | None, target: Path) -> bool:
        """Copy a file to a new local one; return False if it is not here."""
        name = _name(key, version)
        if version is None or name not in self._sizes:
            return False
        self._sizes.move_to_end(name)
        try:
            await asyncio.to_thread(_copied, self._place(name), target, self._sizes.get(name))
        except OSError:
            _log.info("a kept file could not be used; it is read from the bucket", exc_info=True)
            self._forget(name)
            return False
        return True

    async def stage(self, source: Path) -> Path | None:
        """Return a copy of a local file, whose content does not change any more; None for one that is too large."""
        try:
            size = (await asyncio.to_thread(source.stat)).st_size
            if size > self._max_bytes // _LARGEST:
                return None
            copy = self._place(uuid.uuid4().hex)
            await asyncio.to_thread(_copied, source, copy, None)
        except OSError:
            _log.info("a file could not be kept", exc_info=True)
            return None
        return copy

    async def keep(self, staged: Path, key: str, version: str | None) -> None:
        """Keep a staged file as the content of this version."""
        name = _name(key, version)
        try:
            if version is None:
                await asyncio.to_thread(staged.unlink)
                return
            size = (await asyncio.to_thread(staged.stat)).st_size
            await asyncio.to_thread(os.replace, staged, self._place(name))
        except OSError:
            _log.info("a file could not be kept", exc_info=True)
            return
        self._used += size - self._sizes.pop(name, 0)
        self._sizes[name] = size
        while self._used > self._max_bytes:
            self._forget(next(iter(self._sizes)))

    async def drop(self, staged: Path) -> None:
        """Delete a staged file that is not kept."""
        await asyncio.to_thread(staged.unlink, missing_ok=True)

    def _forget(self, name: str) -> None:
        self._used -= self._sizes.pop(name, 0)
        self._place(name).unlink(missing_ok=True)

    def _place(self, name: str) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="runstead-files-cache-")
        return Path(self._folder.name) / name


def _name(key: str, version: str | None) -> str:
    return sha256(f"{key}\0{version}".encode("utf-8", "surrogatepass")).hexdigest()


def _copied(source: Path, target: Path, size: int | None) -> None:
    """Copy a file. Raises OSError, also if it has another size."""
    descriptor = os.open(source, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as read, os.fdopen(open_new(target), "wb") as written:
        shutil.copyfileobj(read, written, 1024 * 1024)
        if size is not None and written.tell() != size:
            raise OSError(f"{source} has another size")
