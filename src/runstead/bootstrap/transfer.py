"""Export and import of the data that the settings name, in either profile. No server may use the data meanwhile."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from runstead.graphs.configuration import GraphConfiguration
from runstead.infra.checkpoints.blocked_names import BlockedNames
from runstead.infra.engines.data_dir import own_data_dir
from runstead.infra.transfer.archive import Archive
from runstead.infra.transfer.backup import Backup as Backup
from runstead.infra.transfer.backup import back_up, restore
from runstead.infra.transfer.backup import copy_databases as copy_databases
from runstead.infra.transfer.bucket_files import BucketFiles
from runstead.infra.transfer.endpoints import Place, data_dir_place, postgres_place
from runstead.infra.transfer.exceptions import FileUnusable
from runstead.infra.transfer.exceptions import TransferError as TransferError
from runstead.infra.transfer.export import export
from runstead.infra.transfer.file_members import FileTotals as FileTotals
from runstead.infra.transfer.file_members import add_files, check_files, import_files, verify_files
from runstead.infra.transfer.import_ import Imported, import_all, verify
from runstead.infra.transfer.manifest import Manifest as Manifest
from runstead.infra.transfer.verify import Comparison
from runstead.resources.storage_errors import DataDirInUse
from runstead.runtime.clock import SystemClock
from runstead.settings import Settings

from .files import file_store

_DAY: Final = 86_400.0
"""Seconds. A table of many GB is read in one transaction, whose locks block no other process."""
_GONE: Final = 30.0


@dataclass(frozen=True, slots=True)
class ImportResult:
    """Result of an import. ``place`` names the destination for people; ``restored`` is the number of threads whose
    pending runs workers will find. ``files``: totals of the written files of users; None without a store of files."""

    place: str
    manifest: Manifest
    imported: Imported
    restored: int
    files: FileTotals | None = None


async def export_file(
    settings: Settings, path: Path, *, with_files: bool = True
) -> tuple[str, Manifest, FileTotals | None]:
    """Export everything to ``path``; return the source, the manifest, and the totals of users' files, if included.

    Raises TransferError, StorageError.
    """
    store = file_store(settings) if with_files else None
    async with _place_or_copy(settings) as place:
        if store is None:
            return place.name, await export(place, path), None
        if await asyncio.to_thread(path.exists):
            raise FileUnusable(path, "is there already; give another name, or move it away")
        # Renamed when it is complete.
        rows = path.with_name(f"{path.name}.rows")
        try:
            manifest = await export(place, rows)
            totals = await add_files(rows, store)
            await asyncio.to_thread(rows.replace, path)
        finally:
            await asyncio.to_thread(rows.unlink, missing_ok=True)
        return place.name, manifest, totals


async def import_file(
    settings: Settings, path: Path, progress: Callable[[int, int], None], blocked: BlockedNames | None
) -> ImportResult:
    """Import everything from ``path``, verify it, and make it ready to be served. Raises TransferError, StorageError.

    ``blocked``: see `blocked_names`; None accepts everything.
    """
    store = file_store(settings)
    with Archive.opened(path) as archive:
        async with _place(settings, making=True) as place:
            if store is not None:
                await check_files(path, store)
            imported = await import_all(archive, place, on_progress=progress, blocked=blocked)
            restored = await _restore_jobs(settings, place) if place.is_shared else 0
            files = None if store is None else await import_files(path, store)
            return ImportResult(place.name, archive.manifest, imported, restored, files)


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


def back_up_file(settings: Settings, path: Path, *, with_files: bool = True) -> tuple[str, Backup]:
    """Back up the data directory to ``path``, while its server may run. Raises TransferError, StorageError.

    ``with_files``: include users' files.
    """
    _refuse_shared(settings, "back it up with pg_dump, or with `runstead export`")
    with ExitStack() as stack:
        files = _files(settings, stack) if with_files else None
        return str(settings.data_dir), back_up(settings.data_dir, path, files=files)


def _files(settings: Settings, stack: ExitStack) -> Path | BucketFiles:
    """Return the folder or the bucket of users' files. Raises TransferError."""
    if settings.files_url is None:
        return settings.files_dir or settings.data_dir / "files"
    store = file_store(settings)
    assert store is not None, "there is a bucket"
    return stack.enter_context(BucketFiles.opened(store))


def restore_file(settings: Settings, path: Path) -> tuple[str, Backup]:
    """Restore the data directory from ``path``. No server may use it. Raises TransferError, StorageError."""
    _refuse_shared(settings, "restore it with pg_restore, or with `runstead import`")
    with ExitStack() as stack:
        data_dir = stack.enter_context(own_data_dir(settings.data_dir))
        return str(data_dir), restore(path, data_dir, _files(settings, stack))


def _refuse_shared(settings: Settings, way_out: str) -> None:
    if settings.is_cluster:
        raise TransferError(f"the settings name a PostgreSQL database, which is not in the data directory; {way_out}")


async def verify_file(settings: Settings, path: Path) -> tuple[str, Comparison]:
    """Verify that everything in ``path`` is stored unchanged; nothing is written. Raises TransferError,
    StorageError.
    """
    with Archive.opened(path) as archive:
        async with _place(settings, making=False) as place:
            found = await verify(archive, place)
            if (store := file_store(settings)) is not None:
                await verify_files(path, store)
            return place.name, found


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
