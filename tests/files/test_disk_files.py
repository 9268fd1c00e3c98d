"""Files of threads on disk: walls between them, and against what agents leave there."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runstead.infra.files.disk import DiskFiles
from runstead.infra.files.limits import FileLimits
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import ThreadId
from runstead.workspace import (
    FileNotFound,
    FilePathConflict,
    InvalidFilePath,
    QuotaExceeded,
    parts_of,
)

ALICE = ActorContext("alice")


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.fixture
def files(tmp_path: Path) -> DiskFiles:
    return DiskFiles(tmp_path / "files", FileLimits(file_bytes=10, user_bytes=25, user_files=3))


async def content(files: DiskFiles, owner: ActorContext, thread_id: str, path: str) -> bytes:
    opened = await files.open(owner, ThreadId(thread_id), path)
    try:
        return await opened.read(0, 1000)
    finally:
        await opened.close()


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "uploads/../../x",
        "uploads/./x",
        "uploads//x",
        "uploads/a\0b",
        "uploads\\..\\x",
        "uploads/c:x",
        "uploads/NUL",
        "uploads/com1.txt",
        "uploads/COM\u00b9",
        "uploads/x.",
        "uploads/\ud800",
        "uploads/" + "x" * 201,
        "a/" * 600 + "x",
    ],
)
def test_unsafe_path_is_refused(path: str) -> None:
    with pytest.raises(InvalidFilePath):
        parts_of(path)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
async def test_symbolic_link_leads_nowhere(files: DiskFiles, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("secret")
    async with files.working(ALICE, ThreadId("t-1")) as working:
        workspace = working.workspace
    (workspace.outputs / "folder").symlink_to(tmp_path / "secret")
    (workspace.outputs / "file").symlink_to(tmp_path / "secret" / "key")
    os.mkfifo(workspace.outputs / "pipe")
    assert await files.list(ALICE, ThreadId("t-1")) == []
    for path in ("outputs/folder/key", "outputs/file", "outputs/pipe"):
        with pytest.raises(FileNotFound):
            await files.open(ALICE, ThreadId("t-1"), path)
    assert not await files.delete(ALICE, ThreadId("t-1"), "outputs/folder/key")
    with pytest.raises(FilePathConflict):
        await files.write(ALICE, ThreadId("t-1"), "outputs/folder/key", chunks(b"new"))
    # A link with the name of the file is replaced, and not followed.
    await files.write(ALICE, ThreadId("t-1"), "outputs/file", chunks(b"new"))
    assert await content(files, ALICE, "t-1", "outputs/file") == b"new"
    archive = await files.archive(ALICE, ThreadId("t-1"))
    assert b"secret" not in await archive.read(0, 10_000)
    await archive.close()
    await files.delete_thread(ThreadId("t-1"), ALICE)
    assert (tmp_path / "secret" / "key").read_text() == "secret"


async def test_what_an_agent_writes_counts_and_a_refused_file_leaves_nothing(files: DiskFiles, tmp_path: Path) -> None:
    async with files.working(ALICE, ThreadId("t-1")) as working:
        for number in range(3):
            (working.workspace.memory / f"{number}").write_bytes(b"")
    with pytest.raises(QuotaExceeded, match="3 files"):
        await files.write(ALICE, ThreadId("t-1"), "uploads/d", chunks(b""))
    assert list((tmp_path / "files" / ".incoming").iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="modes are of POSIX")
async def test_files_are_readable_by_their_owner_only(files: DiskFiles, tmp_path: Path) -> None:
    await files.write(ALICE, ThreadId("t-1"), "uploads/a/b", chunks(b"1"))
    for path in (tmp_path / "files").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
