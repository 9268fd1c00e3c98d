"""Backup of one server's databases as of a single moment into a file, and restore.

SQLite's own backup copies the two databases, each inside a read transaction. Both transactions begin while writes to
both databases are blocked, for a few milliseconds: the copies are as consistent as after a power cut at that moment.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Final, cast
from zipfile import ZIP_DEFLATED, ZipFile

from runstead.infra.engines.data_dir import CHECKPOINTS_FILE, RUNS_FILE
from runstead.infra.engines.sqlite import translate
from runstead.private_files import make_directory, open_new
from runstead.runtime.json_types import JsonObject

from .archive import ZIP_DAMAGE
from .backup_files import FILES, files_in, is_file, refuse_existing
from .bucket_files import BucketFiles
from .exceptions import FileUnusable, TransferError

_FORMAT: Final = "runstead-backup"
_VERSION: Final = 1
_MANIFEST: Final = "manifest.json"
_EVENTS: Final = "events"
# The runs' database last: a directory counts as a server's only if it has this file.
DATABASES: Final = (CHECKPOINTS_FILE, RUNS_FILE)
_WAIT_SECONDS: Final = 30.0
"""Seconds to wait for a server that is writing."""
_BLOCK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Backup:
    """The content of a backup file: sizes of its members in bytes, and the time of its creation.

    ``keys`` are the key ids that its database has recorded: all of them are needed to read its data (see
    `runstead.infra.storage.encryption_keys`).
    """

    created_at: str
    sizes: dict[str, int]
    keys: frozenset[str] = frozenset()


def back_up(data_dir: Path, file: Path, *, with_events: bool = True, files: Path | BucketFiles | None = None) -> Backup:
    """Copy the data of the server of ``data_dir`` to ``file`` while the server runs.

    ``with_events``: include event files, if there are any. ``files``: folder or bucket of users' files to include, as
    they are after the databases were copied. Raises TransferError, StorageError, OSError.
    """
    if file.exists():
        raise TransferError(f"{file} is there already; choose another name, or move it away")
    with (
        tempfile.TemporaryDirectory(dir=file.resolve().parent, prefix=".runstead-") as scratch,
        _removed_unless_done(file.with_name(f"{file.name}.part")) as part,
    ):
        copies = copy_databases(data_dir, Path(scratch))
        # Events are only ever appended: those after the last copied run do no harm.
        found = sorted((data_dir / _EVENTS).rglob("*")) if with_events else ()
        events = [path for path in found if path.is_file() and not path.is_symlink()]
        members: list[tuple[str, Callable[[], IO[bytes]]]] = [(copy.name, partial(_read, copy)) for copy in copies]
        members += [(path.relative_to(data_dir).as_posix(), partial(_read, path)) for path in events]
        if files is not None:
            members += files.members() if isinstance(files, BucketFiles) else files_in(files)
        backup = replace(_write(part, members), keys=_recorded_keys(Path(scratch) / RUNS_FILE))
        os.replace(part, file)
        _sync_folder(file.resolve().parent)
        return backup


def _read(path: Path) -> IO[bytes]:
    return path.open("rb")


def copy_databases(data_dir: Path, target: Path) -> Sequence[Path]:
    """Copy the databases of ``data_dir`` as of a single moment. Raises TransferError, StorageError."""
    files = [data_dir / name for name in DATABASES if (data_dir / name).exists()]
    if data_dir / RUNS_FILE not in files:
        raise TransferError(f"there is nothing in {data_dir}; use the --data-dir of the server")
    with ExitStack() as stack:
        readers = _snapshots(stack, files)
        return [_copied(reader, file, target / file.name) for reader, file in zip(readers, files, strict=True)]


def restore(file: Path, data_dir: Path, files: Path | BucketFiles | None = None) -> Backup:
    """Restore ``file`` into a directory that the caller owns and that has no database.

    ``files``: empty or missing folder for the files of users, or an empty bucket; None: the backup may have no files.
    Encrypted data is restored without its keys. Raises TransferError, StorageError, OSError.
    """
    if found := [name for name in DATABASES if (data_dir / name).exists()]:
        raise TransferError(f"{data_dir} holds {', '.join(found)} already; move it away, or choose another --data-dir")
    try:
        with ZipFile(file) as archive:
            manifest = _manifest(archive, file)
            sizes: dict[str, int] = manifest["sizes"]
            if any(is_file(name) for name in sizes):
                _check_target(files)
            with tempfile.TemporaryDirectory(dir=data_dir, prefix=".restoring-") as scratch:
                for name in sizes:
                    _extract(archive, name, Path(scratch) / name, manifest["sha256"][name], sizes[name], file)
                for name in DATABASES:
                    if name in sizes:
                        _check(Path(scratch) / name, file)
                keys = _recorded_keys(Path(scratch) / RUNS_FILE)
                if _EVENTS in {PurePosixPath(name).parts[0] for name in sizes}:
                    shutil.rmtree(data_dir / _EVENTS, ignore_errors=True)
                    os.replace(Path(scratch) / _EVENTS, data_dir / _EVENTS)
                if files is not None and (restored := Path(scratch) / FILES).exists():
                    _put_files(restored, files)
                for name in DATABASES:
                    if name in sizes:
                        os.replace(Path(scratch) / name, data_dir / name)
                _sync_folder(data_dir)
            return Backup(manifest["created_at"], sizes, keys)
    except (*ZIP_DAMAGE, AttributeError, LookupError, TypeError, ValueError) as error:
        raise FileUnusable(file, f"is not a whole backup of Runstead ({error})") from error


def _check_target(files: Path | BucketFiles | None) -> None:
    """Raise TransferError if files of users cannot be restored there."""
    if files is None:
        raise TransferError("the backup has files of users, and there is no place for them; name a folder")
    if isinstance(files, BucketFiles):
        files.refuse_existing()
    else:
        refuse_existing(files)


def _put_files(restored: Path, files: Path | BucketFiles) -> None:
    if isinstance(files, BucketFiles):
        files.put(restored)
        return
    make_directory(files)
    for path in restored.iterdir():
        shutil.move(path, files / path.name)


def _snapshots(stack: ExitStack, files: Sequence[Path]) -> list[sqlite3.Connection]:
    """Return a connection with a read transaction for each file, all of the same moment."""
    with ExitStack() as held:
        for file in files:
            writer = held.enter_context(closing(_opened(file)))
            try:
                writer.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                raise translate(error, file) from error
        return [_reader(stack, file) for file in files]


def _reader(stack: ExitStack, file: Path) -> sqlite3.Connection:
    reader = stack.enter_context(closing(_opened(file)))
    try:
        reader.execute("BEGIN")
        # A transaction begins with its first read.
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        raise translate(error, file) from error
    return reader


def _opened(file: Path) -> sqlite3.Connection:
    uri = f"{file.resolve().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=_WAIT_SECONDS, isolation_level=None)


def _copied(reader: sqlite3.Connection, file: Path, target: Path) -> Path:
    os.close(open_new(target))
    with closing(sqlite3.connect(target)) as copy:
        try:
            reader.backup(copy)
            # A single file, without a log beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error as error:
            raise translate(error, file) from error
    return target


def _write(part: Path, members: Sequence[tuple[str, Callable[[], IO[bytes]]]]) -> Backup:
    sizes: dict[str, int] = {}
    hashes: dict[str, str] = {}
    created_at = datetime.now(UTC).isoformat()
    with os.fdopen(open_new(part), "w+b") as raw:
        with ZipFile(raw, "w", ZIP_DEFLATED, compresslevel=1) as archive:
            for name, opened in members:
                digest, size = hashlib.sha256(), 0
                try:
                    found = opened()
                except FileNotFoundError:
                    # Deleted since the list was made.
                    continue
                with found as source, archive.open(name, "w", force_zip64=True) as target:
                    while block := source.read(_BLOCK):
                        digest.update(block)
                        size += len(block)
                        target.write(block)
                sizes[name], hashes[name] = size, digest.hexdigest()
            manifest = {
                "format": _FORMAT,
                "version": _VERSION,
                "created_at": created_at,
                "sizes": sizes,
                "sha256": hashes,
            }
            archive.writestr(_MANIFEST, json.dumps(manifest))
        raw.flush()
        os.fsync(raw.fileno())
    return Backup(created_at, sizes)


def _manifest(archive: ZipFile, file: Path) -> JsonObject:
    with archive.open(_MANIFEST) as source:
        manifest = json.loads(source.read(64 * _BLOCK))
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise FileUnusable(file, "is not a backup of Runstead; `runstead import` reads what `runstead export` wrote")
    if manifest["version"] != _VERSION:
        raise FileUnusable(file, f"is of version {manifest['version']}, which this version does not know")
    for name in manifest["sizes"]:
        parts = PurePosixPath(name).parts
        is_event = parts[:1] == (_EVENTS,) and len(parts) > 1 and ".." not in parts and "\\" not in name
        if name not in DATABASES and not is_event and not is_file(name):
            raise FileUnusable(file, f"holds {name!r}, which is no part of a backup")
    if RUNS_FILE not in manifest["sizes"]:
        raise FileUnusable(file, "holds no database of runs")
    return cast("JsonObject", manifest)


def _extract(archive: ZipFile, name: str, target: Path, expected: str, size: int, file: Path) -> None:
    make_directory(target.parent)
    digest, left = hashlib.sha256(), size
    with archive.open(name) as source, os.fdopen(open_new(target), "wb") as written:
        while block := source.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise FileUnusable(file, f"is damaged: {name} has more than {size} bytes")
            digest.update(block)
            written.write(block)
        written.flush()
        os.fsync(written.fileno())
    if digest.hexdigest() != expected:
        raise FileUnusable(file, f"is damaged: {name} does not match its hash")


def _check(database: Path, file: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        try:
            wrong = [line for (line,) in connection.execute("PRAGMA quick_check(1)") if line != "ok"]
        except sqlite3.DatabaseError as error:
            wrong = [str(error)]
    if wrong:
        raise FileUnusable(file, f"holds a {database.name} that is not sound: {wrong[0]}")


def _recorded_keys(database: Path) -> frozenset[str]:
    """Return the key ids in a copy of the runs' database; empty if its version had no such table."""
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            return frozenset(key_id for (key_id,) in connection.execute("SELECT key_id FROM encryption_keys"))
        except sqlite3.OperationalError:
            return frozenset()


@contextmanager
def _removed_unless_done(part: Path) -> Iterator[Path]:
    try:
        yield part
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
