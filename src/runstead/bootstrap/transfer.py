"""Export and import of the data that the settings name, in either profile. No server may use the data meanwhile."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from runstead.graphs.configuration import GraphConfiguration
from runstead.infra.checkpoints.blocked_names import BlockedNames
from runstead.infra.engines.data_dir import own_data_dir
from runstead.infra.transfer.archive import Archive
from runstead.infra.transfer.backup import Backup as Backup
from runstead.infra.transfer.backup import back_up, copy_databases, restore
from runstead.infra.transfer.endpoints import Place, data_dir_place, postgres_place
from runstead.infra.transfer.exceptions import TransferError as TransferError
from runstead.infra.transfer.export import export
from runstead.infra.transfer.import_ import Imported, import_all, verify
from runstead.infra.transfer.manifest import Manifest as Manifest
from runstead.infra.transfer.verify import Comparison
from runstead.resources.storage_errors import DataDirInUse
from runstead.runtime.clock import SystemClock
from runstead.settings import Settings

_DAY: Final = 86_400.0
"""Seconds. A table of many GB is read in one transaction, whose locks block no other process."""
_GONE: Final = 30.0


@dataclass(frozen=True, slots=True)
class ImportResult:
    """Result of an import. ``place`` names the destination for people; ``restored`` is the number of threads whose
    pending runs workers will find."""

    place: str
    manifest: Manifest
    imported: Imported
    restored: int


async def export_file(settings: Settings, path: Path) -> tuple[str, Manifest]:
    """Export everything to ``path``; return the source and the file's manifest. Raises TransferError, StorageError."""
    async with _place_or_copy(settings) as place:
        return place.name, await export(place, path)


async def import_file(
    settings: Settings, path: Path, progress: Callable[[int, int], None], blocked: BlockedNames | None
) -> ImportResult:
    """Import everything from ``path``, verify it, and make it ready to be served. Raises TransferError, StorageError.

    ``blocked``: see `blocked_names`; None accepts everything.
    """
    with Archive.opened(path) as archive:
        async with _place(settings, making=True) as place:
            imported = await import_all(archive, place, on_progress=progress, blocked=blocked)
            restored = await _restore_jobs(settings, place) if place.is_shared else 0
            return ImportResult(place.name, archive.manifest, imported, restored)


def blocked_names(configuration: GraphConfiguration | None) -> BlockedNames | None:
    """Return the names that values must not contain on a server with this configuration; None if all are allowed."""
    serde = configuration.checkpointer.serde if configuration else None
    if serde is None:
        return BlockedNames()
    msgpack, json = serde.allowed_msgpack_modules, serde.allowed_json_modules
    if msgpack is True or json is True:
        return None
    of_json = {(".".join(path[:-1]), path[-1]) for path in json or ()}
    return BlockedNames(frozenset(of_json | {tuple(path) for path in msgpack or ()}), serde.pickle_fallback)


def back_up_file(settings: Settings, path: Path) -> tuple[str, Backup]:
    """Back up the data directory to ``path``, while its server may run. Raises TransferError, StorageError."""
    _refuse_shared(settings, "back it up with pg_dump, or with `runstead export`")
    return str(settings.data_dir), back_up(settings.data_dir, path)


def restore_file(settings: Settings, path: Path) -> tuple[str, Backup]:
    """Restore the data directory from ``path``. No server may use it. Raises TransferError, StorageError."""
    _refuse_shared(settings, "restore it with pg_restore, or with `runstead import`")
    with own_data_dir(settings.data_dir) as data_dir:
        return str(data_dir), restore(path, data_dir)


def _refuse_shared(settings: Settings, way_out: str) -> None:
    if settings.is_cluster:
        raise TransferError(f"the settings name a PostgreSQL database, which is not in the data directory; {way_out}")


async def verify_file(settings: Settings, path: Path) -> tuple[str, Comparison]:
    """Verify that everything in ``path`` is stored unchanged; nothing is written. Raises TransferError,
    StorageError.
    """
    with Archive.opened(path) as archive:
        async with _place(settings, making=False) as place:
            return place.name, await verify(archive, place)


@asynccontextmanager
async def _place_or_copy(settings: Settings) -> AsyncIterator[Place]:
    """Open the data that the settings name, or a copy of its present state if a server uses it."""
    async with AsyncExitStack() as stack:
        try:
            place = await stack.enter_async_context(_place(settings, making=False))
        except DataDirInUse:
            _refuse_event_files(settings)
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=settings.data_dir, prefix=".export-")))
            await asyncio.to_thread(copy_databases, settings.data_dir, scratch)
            copy = settings.model_copy(update={"data_dir": scratch})
            place = replace(await stack.enter_async_context(_place(copy, making=False)), name=str(settings.data_dir))
        yield place


@asynccontextmanager
async def _place(settings: Settings, *, making: bool) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        if settings.database_url is not None:
            # Imported here, since only this profile needs the drivers.
            from .postgres_options import postgres_options

            options = replace(postgres_options(settings), pool_size=2, statement_timeout=_DAY, idle_timeout=_DAY)
            url = settings.database_url.get_secret_value()
            yield await stack.enter_async_context(postgres_place(url, options, making=making))
            return
        if not making and not settings.data_dir.is_dir():
            raise TransferError(f"there is nothing in {settings.data_dir}; use the --data-dir of the server")
        data_dir = stack.enter_context(own_data_dir(settings.data_dir))
        _refuse_event_files(settings)
        yield await stack.enter_async_context(data_dir_place(data_dir, making=making))


def _refuse_event_files(settings: Settings) -> None:
    """Refuse event files, which are not in the database: they would be silently lost, or not be found."""
    if settings.run_events == "jsonl":
        raise TransferError(
            "run events are kept in files (run_events = jsonl), which are not moved; to move the rest, add --set "
            "run_events=sql, and keep the folder `events` of the data directory"
        )


async def _restore_jobs(settings: Settings, place: Place) -> int:
    """Create the jobs of pending runs, as a server would soon after its start. Return the number of threads."""
    from runstead.infra.dispatch.procrastinate_jobs import JobRouting, RunJobs

    jobs = RunJobs(place.database, SystemClock(), JobRouting(settings.graph_queues, settings.graph_priorities))
    restored = 0
    while found := await jobs.restore(silent=_GONE):
        restored += found
        await asyncio.sleep(0)
    return restored
