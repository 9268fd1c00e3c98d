"""Implementation of the encryption commands: count the values of each key, and rewrite all values with the present key.

The databases are opened while a server may be running. Event files of a data directory are the exception: only the
process that owns the directory may write them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Table

from runstead.infra.encryption.cipher import Cipher
from runstead.infra.engines.data_dir import CHECKPOINTS_FILE, RUNS_FILE, keys_of_owner, own_data_dir
from runstead.infra.engines.sqlite import open_sqlite
from runstead.infra.key_rotation.recoding import encrypted_checkpoint_tables, encrypted_tables
from runstead.infra.key_rotation.rewriting import Usage, rewrite, usage_of
from runstead.infra.run_events.rewriting import event_file_keys, rewrite_event_files
from runstead.infra.storage.database import Database
from runstead.infra.storage.database_clock import DatabaseClock
from runstead.infra.storage.encryption_keys import (
    check_encryption_keys,
    forget_keys,
    has_handled_values,
    recorded_keys,
)
from runstead.infra.storage.key_holders import GONE_AFTER, processes_without
from runstead.infra.storage.migrations import HEAD, revision_of
from runstead.resources.storage_errors import DataDirInUse, StorageError, StorageUnusable
from runstead.settings import Settings

_EVENTS: Final = "events"
_NAMED: Final = 5
"""Maximum number of processes that an error names, of those that lack a key."""


class ServersLackKey(StorageError):
    """A running process could not read the data after a rewrite."""

    def __init__(self, processes: str, key_id: str) -> None:
        super().__init__(
            f"nothing was rewritten: {processes} cannot read data of the key {key_id}. Add that key to encryption_keys "
            "(or encryption_keys_file, or LANGGRAPH_AES_KEY) of every server and worker, restart them all, and rewrite "
            "then"
        )


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """Keys that are recorded in a database or data directory, and the number of values that each of them encrypts."""

    place: str
    present: str
    recorded: frozenset[str]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Result of a rewrite: changed rows, keys that are no longer needed, and whether event files were left out."""

    rows: int
    forgotten: tuple[str, ...]
    events_in_use: bool
    after: KeyUsage


@dataclass(frozen=True, slots=True)
class _Place:
    name: str
    main: Database
    parts: Sequence[tuple[Database, Sequence[Table]]]
    events: Path | None
    data_dir: Path | None
    """The directory that a server may own; None in a cluster."""


async def key_usage(settings: Settings, cipher: Cipher) -> KeyUsage:
    """Count the values of every key. Reads everything. Raises StorageError."""
    async with _place(settings) as place:
        return await _usage(place, cipher)


async def rewrite_all(settings: Settings, cipher: Cipher, progress: Callable[[str, int], None]) -> Rewritten:
    """Encrypt all stored data with the current key, and remove the records of keys that no value uses any more.

    Raises StorageError; ServersLackKey while a server or worker runs that could not read the result.
    """
    async with _place(settings) as place:
        # Values of handlers are not decrypted: their ciphertext is encrypted again as a whole.
        are_handled = await place.main.read(has_handled_values)
        await _refuse_processes_without_key(place, cipher)
        await check_encryption_keys(place.main, cipher, place.name, has_handlers=are_handled)
        # Checked again: the key is recorded now, so no other process starts without it.
        await _refuse_processes_without_key(place, cipher)
        rows, events_in_use = 0, False
        for database, tables in place.parts:
            rows += await rewrite(database, tables, cipher, progress)
        if place.events is not None and place.events.is_dir():
            try:
                with own_data_dir(settings.data_dir):
                    rows += rewrite_event_files(place.events, cipher)
            except DataDirInUse:
                events_in_use = True
        after = await _usage(place, cipher)
        unused = tuple(sorted(key for key in after.recorded - {cipher.key_id} if not after.usage.by_key[key]))
        if unused:
            await place.main.write(lambda connection: forget_keys(connection, unused))
        return Rewritten(rows, unused, events_in_use, after)


async def _refuse_processes_without_key(place: _Place, cipher: Cipher) -> None:
    key_id = cipher.key_id
    if place.data_dir is None:
        async with DatabaseClock.running(place.main) as clock:
            lacking = await place.main.read(lambda connection: processes_without(connection, clock, key_id))
        if lacking:
            names = f"{', '.join(lacking[:_NAMED])}{', ...' if len(lacking) > _NAMED else ''}"
            silence = f"one that was killed counts for {GONE_AFTER.total_seconds():.0f} s"
            raise ServersLackKey(f"{len(lacking)} servers or workers of {place.name} ({names}; {silence})", key_id)
        return
    try:
        with own_data_dir(place.data_dir):
            return
    except DataDirInUse as error:
        if key_id not in keys_of_owner(place.data_dir):
            raise ServersLackKey(f"the process with pid {error.pid}, which uses {place.name},", key_id) from error


async def _usage(place: _Place, cipher: Cipher) -> KeyUsage:
    usage = Usage()
    for database, tables in place.parts:
        await usage_of(database, tables, cipher, usage)
    for key_id in () if place.events is None else event_file_keys(place.events, cipher):
        usage.add("events", key_id)
    return KeyUsage(place.name, cipher.key_id, await place.main.read(recorded_keys), usage)


@asynccontextmanager
async def _place(settings: Settings) -> AsyncIterator[_Place]:
    """Open the databases with raw values: the connections have no cipher."""
    main, checkpoints = encrypted_tables(), encrypted_checkpoint_tables()
    async with AsyncExitStack() as stack:
        if settings.database_url is not None:
            from runstead.infra.engines.postgres import open_postgres

            from .postgres_options import postgres_options

            url = settings.database_url.get_secret_value()
            shared = await stack.enter_async_context(open_postgres(url, postgres_options(settings)))
            name = f"schema {settings.database_schema} of {shared.place}"
            await _refuse_other_revision(shared, name)
            yield _Place(name, shared, [(shared, [*main, *checkpoints])], None, None)
            return
        file, beside = settings.data_dir / RUNS_FILE, settings.data_dir / CHECKPOINTS_FILE
        for path in (file, beside):
            if not path.exists():
                raise StorageUnusable(f"there is no {path}; use the --data-dir of the server")
        runs = await stack.enter_async_context(open_sqlite(file, prepare=_overwriting))
        saved = await stack.enter_async_context(open_sqlite(beside, prepare=_overwriting))
        await _refuse_other_revision(runs, str(settings.data_dir))
        events = settings.data_dir / _EVENTS
        yield _Place(str(settings.data_dir), runs, [(runs, main), (saved, checkpoints)], events, settings.data_dir)


def _overwriting(connection: sqlite3.Connection) -> None:
    # Plaintext, or data under a key that is being removed, must not remain in unused parts of the file.
    connection.execute("PRAGMA secure_delete = ON")


async def _refuse_other_revision(database: Database, place: str) -> None:
    if (found := await database.read(revision_of)) != HEAD:
        raise StorageUnusable(f"{place} is at revision {found}, and {HEAD} is needed; run `runstead migrate` first")
