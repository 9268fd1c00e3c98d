"""Users' files in an export: a member of the zip for each file, and an index with sizes and hashes as the last member.

They are added to an export of rows, and written after the rows of an import, so that each file finds its thread.
"""

from __future__ import annotations

import asyncio
import json
import os
import zipfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Final

from runstead.infra.files.keys import key_parts
from runstead.private_files import FILE_MODE
from runstead.workspace import FileChanged, FileNotFound, FileVault, InvalidFilePath, OpenFile

from .archive import ZIP_DAMAGE
from .exceptions import ContentMismatch, FileUnusable, RowsDiffer

_INDEX: Final = "files.jsonl"
_FOLDER: Final = "files/"
_BLOCK: Final = 1024 * 1024
_MOST_LINE: Final = 8 * 1024
_MOST_LISTED: Final = 5


@dataclass(frozen=True, slots=True)
class FileTotals:
    """Number of files, and of bytes in them."""

    files: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Member:
    size: int
    sha256: str


async def add_files(path: Path, vault: FileVault) -> FileTotals:
    """Add all files of ``vault`` to the export at ``path``. A file that is deleted meanwhile is left out."""
    total = 0
    index: list[str] = []
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        async for stored in vault.stored_files():
            try:
                opened = await vault.open_stored(stored.key)
            except FileNotFound:
                continue
            try:
                size, digest = await _add(archive, stored.key, opened)
            finally:
                await opened.close()
            total += size
            index.append(json.dumps([stored.key, size, digest]))
        if not index:
            return FileTotals()
        await asyncio.to_thread(archive.writestr, _info(_INDEX), "".join(f"{line}\n" for line in index))
    with path.open("rb") as file:
        await asyncio.to_thread(os.fsync, file.fileno())
    return FileTotals(len(index), total)


async def _add(archive: zipfile.ZipFile, key: str, opened: OpenFile) -> tuple[int, str]:
    digest, size = sha256(), 0
    with archive.open(_info(_FOLDER + key), "w", force_zip64=True) as target:
        try:
            while block := await opened.read(size, _BLOCK):
                digest.update(block)
                size += len(block)
                await asyncio.to_thread(target.write, block)
        except FileChanged as error:
            raise FileUnusable(Path(archive.filename or ""), f"cannot be written: {error}; export again") from error
    return size, digest.hexdigest()


async def check_files(path: Path, vault: FileVault) -> None:
    """Check that every file of the export is valid and that no other content is stored in its place.

    Raises FileUnusable, RowsDiffer.
    """
    index = await asyncio.to_thread(_index, path)
    differing = [key async for key, found in _stored(index, vault) if found != index[key]]
    if differing:
        raise RowsDiffer("the store of files", [f"file {key}" for key in differing[:_MOST_LISTED]])


async def import_files(path: Path, vault: FileVault) -> FileTotals:
    """Write the files that are missing, and return the totals of what was written.

    Call `check_files` before. Raises FileUnusable if a file is damaged; those before it are written.
    """
    index = await asyncio.to_thread(_index, path)
    there = {key async for key, _ in _stored(index, vault)}
    written = 0
    with zipfile.ZipFile(path) as archive:
        for key, member in index.items():
            if key not in there:
                with archive.open(_FOLDER + key) as source:
                    await vault.restore(key, _checked(source, member, path, key))
                written += member.size
    return FileTotals(len(index) - len(there), written)


async def verify_files(path: Path, vault: FileVault) -> FileTotals:
    """Check that every file of the export is stored unchanged. Raises ContentMismatch."""
    index = await asyncio.to_thread(_index, path)
    found = {key: member async for key, member in _stored(index, vault)}
    wrong = [key for key, member in index.items() if found.get(key) != member]
    if wrong:
        raise ContentMismatch("the store of files", [f"file {key}: missing or different" for key in wrong])
    return FileTotals(len(index), sum(member.size for member in index.values()))


async def _stored(index: Mapping[str, _Member], vault: FileVault) -> AsyncIterator[tuple[str, _Member]]:
    """Yield the stored files that are also in the index. Only files of the same size are read."""
    async for stored in vault.stored_files():
        expected = index.get(stored.key)
        if expected is None:
            continue
        if stored.size != expected.size:
            yield stored.key, _Member(stored.size, "")
            continue
        digest, opened = sha256(), await vault.open_stored(stored.key)
        try:
            position = 0
            while block := await opened.read(position, _BLOCK):
                digest.update(block)
                position += len(block)
        finally:
            await opened.close()
        yield stored.key, _Member(position, digest.hexdigest())


async def _checked(source: IO[bytes], member: _Member, path: Path, key: str) -> AsyncIterator[bytes]:
    """Yield the content of a member, and no more than the index says. Raises FileUnusable if it does not match."""
    digest, size = sha256(), 0
    try:
        while block := await asyncio.to_thread(source.read, _BLOCK):
            digest.update(block)
            size += len(block)
            if size > member.size:
                break
            yield block
    except ZIP_DAMAGE as error:
        raise FileUnusable(path, f"is damaged in {_FOLDER}{key} ({error}); export again") from error
    if (size, digest.hexdigest()) != (member.size, member.sha256):
        raise FileUnusable(path, f"is damaged: {_FOLDER}{key} does not match its hash; export again")


def _index(path: Path) -> dict[str, _Member]:
    """Return the files of an export; none if it was made without files. Raises FileUnusable."""
    found: dict[str, _Member] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            for line in _lines(archive) if _INDEX in names else ():
                key, size, digest = json.loads(line)
                key_parts(key)
                if _FOLDER + key not in names or size < 0 or key in found:
                    raise ValueError(f"{key} is not there once")
                found[key] = _Member(int(size), str(digest))
    except OSError as error:
        raise FileUnusable(path, f"cannot be read: {error.strerror or error}") from error
    except (*ZIP_DAMAGE, AttributeError, InvalidFilePath, LookupError, TypeError, ValueError) as error:
        raise FileUnusable(path, f"has an index of files that cannot be read ({error}); export again") from error
    return found


def _lines(archive: zipfile.ZipFile) -> Iterator[bytes]:
    with archive.open(_INDEX) as index:
        while line := index.readline(_MOST_LINE):
            yield line


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = FILE_MODE << 16
    return info
