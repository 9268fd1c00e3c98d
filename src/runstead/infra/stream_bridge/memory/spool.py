"""Files for events that do not fit into memory: written and read in threads, never on the event loop.

The files contain event data, are readable by their owner only (0600), and do not outlive the process: they are deleted
when their log is deleted and when the spool closes, and the next start deletes those of a killed process. No file
stays open between two calls, except one that is deleted while it has a reader.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar

from runstead.infra.encryption.cipher import CannotDecrypt, Cipher

T = TypeVar("T")
_PURPOSE: Final = "stream.file"
_READERS: Final = 2
"""Threads that read: many returning readers take turns, and leave the processor to the publishers."""
_RESERVE: Final = 128 * 1024 * 1024
"""Bytes of free disk space to preserve: databases on the same disk must not fail because of streams."""

_log = logging.getLogger(__name__)


class SpoolFile:
    """One file of one log, with consecutive blocks. Its methods are called in threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        """The offset of the next block. Used by the event loop only, like ``blocks``, the number of blocks in use."""
        self.blocks = 0
        self._lock = Lock()
        self._descriptor: int | None = None

    def write(self, offset: int, pieces: Sequence[bytes]) -> None:
        """Write pieces one after the other. Raises OSError; a partial write is overwritten later."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(self.path, flags, 0o600)
        try:
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    written = os.pwrite(descriptor, view, offset)
                    offset, view = offset + written, view[written:]
        finally:
            os.close(descriptor)

    def read(self, offset: int, length: int) -> bytes:
        """Read ``length`` bytes. Raises OSError, also if there are fewer."""
        with self._lock:
            kept = self._descriptor
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC) if kept is None else kept
            try:
                data = os.pread(descriptor, length, offset)
            finally:
                if kept is None:
                    os.close(descriptor)
        if len(data) != length:
            raise OSError(errno.EIO, f"{len(data)} bytes instead of {length}", str(self.path))
        return data

    def delete(self, *, is_read: bool) -> None:
        """Delete the file. With ``is_read``, its content can still be read until this object is deleted."""
        with self._lock, suppress(FileNotFoundError):
            if is_read and self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            self.path.unlink()

    def __del__(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)


class Spool:
    """A directory of such files, used by this process only. Called on one event loop."""

    def __init__(self, directory: Path, *, reserve: int = _RESERVE, cipher: Cipher | None = None) -> None:
        """Create the spool. ``cipher`` encrypts each piece."""
        self._cipher = cipher
        self.overhead = 0 if cipher is None else len(cipher.encrypt(b"", _PURPOSE))
        """Number of bytes that encryption adds to a piece."""
        self.directory, self._reserve = directory, reserve
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="stream-spool-writer")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="stream-spool-reader")
        self._is_closed = False
        self._names = iter(range(1, 2**62))

    async def start(self) -> None:
        """Create the directory, and delete the files that an earlier process has left in it. Raises OSError."""
        await self._in(self._writer, self._clear)

    async def close(self) -> None:
        """Delete the directory after all requested operations. Files that are being read can be read to their end."""
        with suppress(OSError):
            await self._in(self._writer, partial(shutil.rmtree, self.directory, ignore_errors=True))
        self._is_closed = True
        for threads in (self._writer, self._readers):
            threads.shutdown(wait=False)

    def file(self) -> SpoolFile:
        """Return a new file. It exists on disk once something was written to it."""
        return SpoolFile(self.directory / f"{next(self._names)}.events")

    def write(self, file: SpoolFile, offset: int, pieces: Sequence[bytes]) -> asyncio.Future[None]:
        """Write pieces one after the other. The future fails with OSError if the disk is full or broken."""
        return self._in(self._writer, partial(self._write, file, offset, pieces))

    def read(self, file: SpoolFile, offset: int, length: int) -> asyncio.Future[bytes]:
        """Read from a file. The future fails with OSError if the file is missing or damaged."""
        if self._is_closed:
            # A reader reads a deleted file to its end.
            return asyncio.get_running_loop().run_in_executor(None, file.read, offset, length)
        return self._in(self._readers, partial(file.read, offset, length))

    def piece_of(self, data: bytes) -> bytes:
        """Return the decrypted piece. Raises ValueError if it is damaged."""
        if self._cipher is None:
            return data
        try:
            return self._cipher.decrypt(data, _PURPOSE)
        except CannotDecrypt as error:
            raise ValueError(str(error)) from error

    def delete(self, file: SpoolFile, *, is_read: bool) -> None:
        """Delete a file after all earlier writes to it; see `SpoolFile.delete`."""
        with suppress(RuntimeError):  # The spool is closed, and everything is deleted.
            self._writer.submit(self._delete, file, is_read)

    def _in(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(threads, work)

    def _clear(self) -> None:
        if self.directory.is_symlink() or self.directory.is_file():
            self.directory.unlink()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _write(self, file: SpoolFile, offset: int, pieces: Sequence[bytes]) -> None:
        disk = os.statvfs(self.directory)
        if disk.f_bavail * disk.f_frsize < self._reserve:
            raise OSError(errno.ENOSPC, f"less than {self._reserve // 1024**2} MiB are left", str(self.directory))
        if self._cipher is not None:
            pieces = [self._cipher.encrypt(piece, _PURPOSE) for piece in pieces]
        file.write(offset, pieces)

    def _delete(self, file: SpoolFile, is_read: bool) -> None:
        try:
            file.delete(is_read=is_read)
        except OSError as error:
            _log.warning("the events in %s could not be deleted: %s", file.path, error)
