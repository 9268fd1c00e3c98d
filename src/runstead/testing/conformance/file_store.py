"""The conformance suite of the FileStore and FileVault ports.

Subclass it and provide ``files``, an empty store with LIMITS, and ``other``, another one.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final, Protocol

import pytest

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import ThreadId
from runstead.workspace import (
    FileChanged,
    FileNotFound,
    FilePathConflict,
    FileStore,
    FileTooLarge,
    FileVault,
    InvalidFilePath,
    OpenFile,
    QuotaExceeded,
    StoredFile,
)

ALICE, BOB, ALICE_ELSEWHERE = ActorContext("alice"), ActorContext("Bob B."), ActorContext("alice", "other")
T1, T2, T3 = ThreadId("t-1"), ThreadId("T 2/../x"), ThreadId("t-3")
FILE_BYTES, USER_BYTES, USER_FILES = 10, 25, 3
"""Limits that ``files`` must have."""
NAME: Final = "uploads/a/b ✓ 100%~+&=#.txt"


class Files(FileStore, FileVault, Protocol):
    """A store with both ports."""


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def all_of(opened: OpenFile) -> bytes:
    try:
        return await opened.read(0, 100_000)
    finally:
        await opened.close()


async def content(files: Files, owner: ActorContext, thread_id: ThreadId | None, path: str) -> bytes:
    return await all_of(await files.open(owner, thread_id, path))


async def paths(files: Files, owner: ActorContext, thread_id: ThreadId | None) -> list[str]:
    return [entry.path for entry in await files.list(owner, thread_id)]


class FileStoreConformance:
    """The suite of FileStore and FileVault. Subclass it and provide ``files`` and ``other``."""

    async def test_a_file_belongs_to_one_thread_of_one_owner(self, files: Files) -> None:
        first = await files.write(ALICE, T2, NAME, chunks(b"on", b"e"))
        second = await files.write(ALICE, T2, NAME, chunks(b"two"))
        assert (first.path, first.size, first.etag != second.etag) == (NAME, 3, True)
        assert await content(files, ALICE, T2, NAME) == b"two"
        assert await files.list(ALICE, T2) == [second]
        for owner, thread_id in ((BOB, T2), (ALICE_ELSEWHERE, T2), (ALICE, T1), (ALICE, None)):
            assert await files.list(owner, thread_id) == []
            assert not await files.delete(owner, thread_id, NAME)
            with pytest.raises(FileNotFound):
                await files.open(owner, thread_id, NAME)
        await files.delete_thread(T2, BOB)
        assert await files.delete(ALICE, T2, NAME)
        assert not await files.delete(ALICE, T2, NAME)
        assert await files.list(ALICE, T2) == []

    async def test_a_memory_belongs_to_one_user(self, files: Files) -> None:
        await files.write(ALICE, None, "memory/a/notes.md", chunks(b"hers"))
        await files.write(BOB, None, "memory/a/notes.md", chunks(b"his"))
        assert await paths(files, ALICE, None) == ["memory/a/notes.md"]
        assert await content(files, ALICE, None, "memory/a/notes.md") == b"hers"
        await files.write(ALICE, T1, "outputs/x", chunks(b"1"))
        for path in ("threads/t-1/outputs/x", "memory", "uploads/x"):
            with pytest.raises(FileNotFound):
                await files.open(ALICE, None, path)
            assert not await files.delete(ALICE, None, path)
            with pytest.raises(InvalidFilePath):
                await files.write(ALICE, None, path, chunks(b""))
        await files.delete_thread(T1)
        assert await paths(files, ALICE, None) == ["memory/a/notes.md"]
        assert await files.delete(ALICE, None, "memory/a/notes.md")

    async def test_all_files_of_a_thread_are_deleted_with_it(self, files: Files) -> None:
        for owner in (ALICE, BOB):
            for path in ("outputs/x", "uploads/y"):
                await files.write(owner, T1, path, chunks(b"1"))
        await files.delete_thread(T1, ALICE)
        assert (await paths(files, ALICE, T1), await paths(files, BOB, T1)) == ([], ["outputs/x", "uploads/y"])
        await files.write(ALICE, T1, "outputs/x", chunks(b"1"))
        await files.delete_thread(T1)
        assert await paths(files, ALICE, T1) == await paths(files, BOB, T1) == []
        await files.delete_thread(T1)

    async def test_a_refused_file_changes_nothing(self, files: Files) -> None:
        await files.write(ALICE, T1, "uploads/a", chunks(b"12345678"))
        with pytest.raises(FileTooLarge):
            await files.write(ALICE, T1, "uploads/a", chunks(b"123456", b"78901"))
        await files.write(ALICE, None, "memory/b", chunks(b"1234567890"))
        with pytest.raises(QuotaExceeded, match="files_user_bytes"):
            await files.write(ALICE, T1, "uploads/c", chunks(b"1234567890"))
        # A file that is replaced does not count twice.
        await files.write(ALICE, T1, "uploads/a", chunks(b"1234567890"))
        await files.write(ALICE, T2, "uploads/c", chunks(b""))
        with pytest.raises(QuotaExceeded, match="3 files"):
            await files.write(ALICE, T2, "uploads/d", chunks(b""))
        await files.write(BOB, T3, "uploads/c", chunks(b"1234567890"))
        with pytest.raises(FilePathConflict):
            await files.write(BOB, T3, "uploads/c/d", chunks(b"1"))
        await files.write(BOB, T3, "uploads/e/f", chunks(b"1"))
        with pytest.raises(FilePathConflict):
            await files.write(BOB, T3, "uploads/e", chunks(b"1"))
        with pytest.raises(InvalidFilePath, match="has to name a file in"):
            await files.write(BOB, T3, "elsewhere/c", chunks(b"1"))
        assert await content(files, ALICE, T1, "uploads/a") == b"1234567890"
        assert await paths(files, BOB, T3) == ["uploads/c", "uploads/e/f"]

    async def test_an_open_file_stays_the_same_or_says_that_it_has_changed(self, files: Files) -> None:
        await files.write(ALICE, T1, "uploads/a", chunks(b"old"))
        opened = await files.open(ALICE, T1, "uploads/a")
        assert (await opened.read(1, 10), await opened.read(3, 10)) == (b"ld", b"")
        late = await files.open(ALICE, T1, "uploads/a")
        await files.write(ALICE, T1, "uploads/a", chunks(b"new"))
        for one in (opened, late):
            with suppress(FileChanged):
                assert await one.read(0, 10) == b"old"
            await one.close()

    async def test_an_archive_contains_all_files(self, files: Files) -> None:
        await files.write(ALICE, T1, "uploads/a", chunks(b"one"))
        await files.write(ALICE, T1, "outputs/b", chunks(b""))
        await files.write(ALICE, None, "memory/c", chunks(b"three"))
        for thread_id, expected in ((T1, {"uploads/a": b"one", "outputs/b": b""}), (None, {"memory/c": b"three"})):
            opened = await files.archive(ALICE, thread_id)
            archive = zipfile.ZipFile(io.BytesIO(await all_of(opened)))
            assert {name: archive.read(name) for name in archive.namelist()} == expected
            assert opened.entry.size > 0

    async def test_a_run_works_with_local_paths(self, files: Files) -> None:
        await files.write(ALICE, T1, "uploads/old", chunks(b"1"))
        await files.write(ALICE, T1, "uploads/kept", chunks(b"2"))
        await files.write(ALICE, None, "memory/notes", chunks(b"3"))
        async with files.working(ALICE, T1) as working:
            place = working.workspace
            assert (place.uploads / "kept").read_bytes() + (place.memory / "notes").read_bytes() == b"23"
            (place.uploads / "old").unlink()
            (place.outputs / "deep").mkdir()
            (place.outputs / "deep" / "report").write_bytes(b"4")
            (place.memory / "notes").write_bytes(b"35")
            if working.save is not None:
                await working.save()
            # Seen by others before the run ends, and after a crash.
            assert await paths(files, ALICE, T1) == ["outputs/deep/report", "uploads/kept"]
            assert await content(files, ALICE, None, "memory/notes") == b"35"
            (place.outputs / "deep" / "report").write_bytes(b"6")
            if working.save is not None:
                await working.save()
        assert await content(files, ALICE, T1, "outputs/deep/report") == b"6"
        async with files.working(ALICE, T2) as working:
            assert [path.name for path in working.workspace.uploads.iterdir()] == []
            assert (working.workspace.memory / "notes").read_bytes() == b"35"

    async def test_all_files_move_to_another_store(self, files: Files, other: Files) -> None:
        await files.write(ALICE, T2, NAME, chunks(b"one"))
        await files.write(BOB, None, "memory/c", chunks(b"two"))
        stored = [each async for each in files.stored_files()]
        assert [each.size for each in stored] == [3, 3]
        assert [each.key for each in stored] == sorted(each.key for each in stored)
        for each in stored:
            await other.restore(each.key, chunks(await all_of(await files.open_stored(each.key))))
        assert await content(other, ALICE, T2, NAME) == b"one"
        assert await content(other, BOB, None, "memory/c") == b"two"
        assert [each async for each in other.stored_files()] == stored
        await other.delete_thread(T2)
        assert await paths(other, ALICE, T2) == []

    @pytest.mark.parametrize(
        "key",
        [
            "",
            "a/b",
            "../b/memory/x",
            "a/../memory/x",
            "a/b/memory",
            "a/b/elsewhere/x",
            "a/b/threads/t",
            "a/b/threads/../x",
            "a/b/threads/t/../../../../x",
            ".incoming/b/memory/x",
            "a/b/memory/nul",
            "/a/b/memory/x",
        ],
    )
    async def test_a_key_that_no_file_can_have_is_refused(self, files: Files, key: str) -> None:
        with pytest.raises(InvalidFilePath):
            await files.restore(key, chunks(b"x"))
        assert [each async for each in files.stored_files()] == list[StoredFile]()
