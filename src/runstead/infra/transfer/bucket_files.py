"""Users' files of a bucket in a backup, read and written from the thread that makes or restores it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Final, cast

from runstead.workspace import FileChanged, FileNotFound, FileVault, OpenFile, StoredFile

from .backup_files import FILES, is_file
from .exceptions import TransferError

_BLOCK: Final = 1024 * 1024


class BucketFiles:
    """Files of a bucket. Not usable on an event loop, since it has one of its own."""

    def __init__(self, vault: FileVault, runner: asyncio.Runner) -> None:
        self._vault, self._runner = vault, runner

    @classmethod
    @contextmanager
    def opened(cls, vault: FileVault) -> Iterator[BucketFiles]:
        with asyncio.Runner() as runner:
            yield cls(vault, runner)

    def members(self) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
        """Yield the files of users as members of a backup, as `files_in` does for a folder."""
        for stored in self._runner.run(self._stored()):
            name = f"{FILES}/{stored.key}"
            if is_file(name):
                yield name, partial(self._open, stored.key)

    def refuse_existing(self) -> None:
        """Raise TransferError if the bucket has files."""
        if self._runner.run(self._has_files()):
            raise TransferError("the bucket of files_url has files already; name another bucket or prefix")

    def put(self, folder: Path) -> None:
        """Store all files below a folder with the names of members."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = path.relative_to(folder).as_posix()
                self._runner.run(self._vault.restore(key, _chunks(path)))

    async def _stored(self) -> list[StoredFile]:
        return [stored async for stored in self._vault.stored_files()]

    async def _has_files(self) -> bool:
        async for _ in self._vault.stored_files():
            return True
        return False

    def _open(self, key: str) -> IO[bytes]:
        try:
            opened = self._runner.run(self._vault.open_stored(key))
        except FileNotFound as error:
            raise FileNotFoundError(key) from error
        return cast("IO[bytes]", _Reader(opened, self._runner))


class _Reader(io.RawIOBase):
    """A file of a bucket that is read from its beginning to its end."""

    def __init__(self, opened: OpenFile, runner: asyncio.Runner) -> None:
        self._opened, self._runner, self._place = opened, runner, 0

    def read(self, size: int = -1) -> bytes:
        wanted = self._opened.entry.size if size < 0 else size
        try:
            block = self._runner.run(self._read(wanted))
        except FileChanged as error:
            raise TransferError(f"{error}; make the backup again") from error
        self._place += len(block)
        return block

    async def _read(self, size: int) -> bytes:
        return await self._opened.read(self._place, size)

    def close(self) -> None:
        if not self.closed:
            self._runner.run(self._closed())
        super().close()

    async def _closed(self) -> None:
        await self._opened.close()


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block
