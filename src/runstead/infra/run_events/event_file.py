"""The events of one thread in one file, one line each. Blocking.

A batch is one write. Each line contains the number of lines of its batch that follow, so that a batch that a crash cut
off is recognised: readers ignore it, the next append truncates it, and its numbers, which were never reported to a
caller, are assigned again. A line that was damaged later is skipped with a warning and keeps its number.

Writers take turns by a lock. Readers hold it only to find the end of the intact part: what lies before never changes,
and a deletion replaces the file.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from threading import RLock
from typing import BinaryIO

from runstead.infra.encryption.cipher import Cipher
from runstead.private_files import make_directory, open_new
from runstead.runtime.runs.store.event_store import RunEvent, StoredRunEvent
from runstead.runtime.runs.types import RunId, ThreadId

from .lines import backward, event_line, forward, head_of, mark_line, read_line

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The selection of events for a page; see RunEventStore.list_events. An empty field excludes nothing."""

    run_id: RunId | None = None
    categories: frozenset[str] = frozenset()
    event_types: frozenset[str] = frozenset()
    after: int | None = None
    before: int | None = None
    limit: int = 50

    def fits(self, stored: StoredRunEvent) -> bool:
        event = stored.event
        of_run = self.run_id is None or event.run_id == self.run_id
        return of_run and (not self.event_types or event.event_type in self.event_types)


@dataclass(frozen=True, slots=True)
class _Extent:
    """The length of the intact part of a file in bytes, and the last number assigned in it."""

    end: int
    last_seq: int


class EventFile:
    """One thread's file, which need not exist yet. All users of the same file must share ``lock``."""

    def __init__(self, path: Path, thread_id: ThreadId, lock: RLock, cipher: Cipher | None = None) -> None:
        self.lock = lock
        self._path, self._thread_id, self._cipher = path, thread_id, cipher

    def exists(self) -> bool:
        return self._path.exists()

    def append(self, events: Sequence[RunEvent], *, fsync: bool) -> list[StoredRunEvent]:
        """Write a batch after the last intact line: all of it, or nothing if the disk refuses it."""
        make_directory(self._path.parent)
        with self.lock, os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0) as file:
            extent = _extent_of(file)
            stored = [StoredRunEvent(extent.last_seq + place, event) for place, event in enumerate(events, start=1)]
            last = extent.last_seq + len(stored)
            lines = b"".join(event_line(entry.seq, last - entry.seq, entry.event, self._cipher) for entry in stored)
            file.truncate(extent.end)
            try:
                file.seek(extent.end)
                _write_all(file, lines)
                if fsync:
                    os.fsync(file.fileno())
            except OSError:
                file.truncate(extent.end)
                raise
        return stored

    def page(self, wanted: Wanted) -> list[StoredRunEvent]:
        with self._sound_part() as (file, end):
            if wanted.after is not None:
                return list(islice(self._matching(forward(file, end), wanted), max(wanted.limit, 0)))
            page = list(islice(self._matching(backward(file, end), wanted), max(wanted.limit, 0)))
        page.reverse()
        return page

    def count(self, categories: frozenset[str]) -> int:
        with self._sound_part() as (file, end):
            heads = (head_of(line) for line in forward(file, end))
            return sum(
                1 for head in heads if head and head.category and (not categories or head.category in categories)
            )

    def delete(self, run_id: RunId | None) -> int:
        """Delete the events of a run, or of all runs, by writing a new file and replacing the old one. Durable."""
        with self.lock:
            if not self.exists():
                return 0
            rewritten = self._path.with_suffix(".rewritten")
            deleted = self._rewrite(rewritten, run_id)
            if deleted:
                rewritten.replace(self._path)
                _fsync_folder(self._path.parent)
            else:
                rewritten.unlink()
        return deleted

    def _rewrite(self, rewritten: Path, run_id: RunId | None) -> int:
        deleted = 0
        with self._path.open("rb") as file, os.fdopen(open_new(rewritten), "wb") as kept:
            extent = _extent_of(file)
            for line in forward(file, extent.end):
                if run_id is not None and self._is_of_another_run(line, run_id):
                    kept.write(line)
                elif (head := head_of(line)) and head.category:
                    deleted += 1
            kept.write(mark_line(extent.last_seq))
            kept.flush()
            os.fsync(kept.fileno())
        return deleted

    @contextmanager
    def _sound_part(self) -> Iterator[tuple[BinaryIO, int]]:
        """Yield the file, open for reading, and the end of its intact part; an empty file if there is none."""
        file: BinaryIO
        with ExitStack() as stack:
            with self.lock:
                try:
                    file = stack.enter_context(self._path.open("rb"))
                except FileNotFoundError:
                    file = BytesIO()
                end = _extent_of(file).end
            yield file, end

    def _is_of_another_run(self, line: bytes, run_id: RunId) -> bool:
        """Return whether to keep the line.

        Unreadable lines are kept; an old mark is not, since a new one is written.
        """
        head = head_of(line)
        if head and not head.category:
            return False
        stored = read_line(line, self._thread_id, self._cipher)
        return stored is None or stored.event.run_id != run_id

    def _matching(self, lines: Iterator[bytes], wanted: Wanted) -> Iterator[StoredRunEvent]:
        damaged = 0
        for line in lines:
            head = head_of(line)
            if head is None:
                damaged += 1
                continue
            if wanted.before is not None and head.seq >= wanted.before:
                if wanted.after is not None:
                    break
                continue
            if not head.category or (wanted.after is not None and head.seq <= wanted.after):
                continue
            if wanted.categories and head.category not in wanted.categories:
                continue
            stored = read_line(line, self._thread_id, self._cipher)
            if stored is None:
                damaged += 1
            elif wanted.fits(stored):
                yield stored
        if damaged:
            _log.warning("%d damaged lines were skipped in %s", damaged, self._path)


def _extent_of(file: BinaryIO) -> _Extent:
    """Return the intact part of the file; it searches from the end for the last line of a complete batch."""
    end = file.seek(0, os.SEEK_END)
    damaged = 0
    for line in backward(file, end):
        head = head_of(line)
        if not line.endswith(b"\n"):
            end -= len(line)
        elif head is None:
            damaged += 1
        elif head.more and not damaged:
            # The rest of its batch was never written.
            end -= len(line)
        else:
            return _Extent(end, head.seq + damaged)
    return _Extent(end, damaged)


def _write_all(file: BinaryIO, data: bytes) -> None:
    # Usually one call; a raw file may write less at a time if the disk is nearly full or the batch is huge.
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _fsync_folder(folder: Path) -> None:
    """Make a rename durable, if folders can be synced."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
