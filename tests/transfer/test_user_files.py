"""Users' files in exports and backups: complete, bounded, and never outside of their folder."""

from __future__ import annotations

import asyncio
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runstead.bootstrap.files import file_store
from runstead.bootstrap.transfer import back_up_file, export_file, import_file, restore_file, verify_file
from runstead.infra.engines.data_dir import RUNS_FILE
from runstead.infra.files.disk import DiskFiles
from runstead.infra.transfer.exceptions import ContentMismatch, FileUnusable, RowsDiffer, TransferError
from runstead.settings import Settings, load_settings
from runstead.testing.conformance.file_store import ALICE, BOB, T1, chunks, content, paths
from tests.servers.s3 import CREDENTIALS, new_bucket, s3_server
from tests.servers.sqlite import current_data


def settings_of(folder: Path) -> Settings:
    return load_settings({"data_dir": current_data(folder)}, project=folder.parent)


@pytest.fixture
async def source(tmp_path: Path) -> Settings:
    settings = settings_of(tmp_path / "source")
    files = DiskFiles(settings.data_dir / "files")
    await files.write(ALICE, T1, "uploads/a.txt", chunks(b"one"))
    await files.write(BOB, None, "memory/notes", chunks(b"two"))
    async with files.working(ALICE, T1) as working:
        (working.workspace.outputs / "link").symlink_to("/etc/passwd")
    return settings


async def is_complete(settings: Settings) -> bool:
    files = DiskFiles(settings.data_dir / "files")
    assert await paths(files, ALICE, T1) == ["uploads/a.txt"]
    return (await content(files, ALICE, T1, "uploads/a.txt"), await content(files, BOB, None, "memory/notes")) == (
        b"one",
        b"two",
    )


def no_progress(done: int, total: int) -> None:
    pass


async def test_files_are_exported_imported_and_verified(source: Settings, tmp_path: Path) -> None:
    file, target = tmp_path / "all.zip", settings_of(tmp_path / "target")
    _, _, totals = await export_file(source, file)
    assert totals is not None
    assert (totals.files, totals.bytes) == (2, 6)
    for written in (2, 0):
        result = await import_file(target, file, no_progress, None)
        assert result.files is not None
        assert result.files.files == written
    assert await is_complete(target)
    await verify_file(target, file)
    await DiskFiles(target.data_dir / "files").write(ALICE, T1, "uploads/a.txt", chunks(b"One"))
    with pytest.raises(ContentMismatch, match=r"uploads/a\.txt"):
        await verify_file(target, file)
    # Nothing is overwritten.
    with pytest.raises(RowsDiffer, match=r"uploads/a\.txt"):
        await import_file(target, file, no_progress, None)
    assert sorted(name for name in os.listdir(tmp_path) if name.startswith("all")) == ["all.zip"]


async def test_an_export_without_files_imports_none(source: Settings, tmp_path: Path) -> None:
    file, target = tmp_path / "rows.zip", settings_of(tmp_path / "target")
    assert (await export_file(source, file, with_files=False))[2] is None
    result = await import_file(target, file, no_progress, None)
    assert result.files is not None
    assert result.files.files == 0


def rewritten(file: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Change the members of a zip file."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("kind", ["content", "larger", "outside", "twice", "missing", "no json"])
async def test_a_changed_export_is_refused(source: Settings, tmp_path: Path, kind: str) -> None:
    file, target = tmp_path / "all.zip", settings_of(tmp_path / "target")
    await export_file(source, file)

    def change(members: dict[str, bytes]) -> None:
        name = next(name for name in members if name.endswith("uploads/a.txt"))
        first, second = members["files.jsonl"].splitlines()
        if kind in ("content", "larger"):
            members[name] = b"ONE" if kind == "content" else b"one" * 1_000
        elif kind == "outside":
            entry = json.loads(first)
            entry[0] = "default/alice/threads/../../../../x"
            members[f"files/{entry[0]}"] = b"one"
            members["files.jsonl"] = json.dumps(entry).encode()
        elif kind == "twice":
            members["files.jsonl"] = first + b"\n" + first
        elif kind == "missing":
            del members[name]
        else:
            members["files.jsonl"] = second + b"\n[1]"

    rewritten(file, change)
    with pytest.raises(FileUnusable):
        await import_file(target, file, no_progress, None)
    assert [path for path in (target.data_dir / "files").rglob("*") if path.is_file()] == []
    assert not (tmp_path / "x").exists()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
async def test_files_are_backed_up_and_restored(source: Settings, tmp_path: Path) -> None:
    file, target = tmp_path / "kept.zip", load_settings({"data_dir": tmp_path / "target"}, project=tmp_path)
    back_up_file(source, file)
    assert not any(name.endswith("link") for name in zipfile.ZipFile(file).namelist())
    restore_file(target, file)
    assert await is_complete(target)
    for path in (target.data_dir / "files").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path

    # Files are never mixed with others.
    (tmp_path / "third" / "files" / "default").mkdir(parents=True)
    third = load_settings({"data_dir": tmp_path / "third"}, project=tmp_path)
    with pytest.raises(TransferError, match="has files already"):
        restore_file(third, file)
    without = tmp_path / "rows.zip"
    back_up_file(source, without, with_files=False)
    assert not any(name.startswith("files/") for name in zipfile.ZipFile(without).namelist())
    restore_file(third, without)


@pytest.mark.parametrize("kind", ["outside", "larger"])
async def test_a_changed_backup_is_refused(source: Settings, tmp_path: Path, kind: str) -> None:
    file, target = tmp_path / "kept.zip", load_settings({"data_dir": tmp_path / "target"}, project=tmp_path)
    back_up_file(source, file)

    def change(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        name = next(name for name in members if name.endswith("uploads/a.txt"))
        if kind == "outside":
            outside = "files/default/alice/memory/../../../../../x"
            members[outside] = members.pop(name)
            for part in ("sizes", "sha256"):
                manifest[part][outside] = manifest[part].pop(name)
            members["manifest.json"] = json.dumps(manifest).encode()
        else:
            members[name] = b"one" * 1_000

    rewritten(file, change)
    with pytest.raises(FileUnusable):
        restore_file(target, file)
    assert not (tmp_path / "x").exists()


async def test_files_of_a_bucket_are_backed_up_and_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server() as endpoint:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}.items():
            monkeypatch.setenv(name, value)

        def settings_in(folder: str) -> Settings:
            data, bucket = current_data(tmp_path / folder), f"s3://{new_bucket(endpoint)}"
            return load_settings({"data_dir": data, "files_url": bucket}, project=tmp_path)

        source, file = settings_in("in-bucket"), tmp_path / "all.zip"
        files = file_store(source)
        assert files is not None
        await files.write(ALICE, T1, "uploads/a.txt", chunks(b"one" * 1_000))
        await files.write(BOB, None, "memory/notes", chunks(b"two"))
        await asyncio.to_thread(back_up_file, source, file)
        target = settings_in("other")
        (target.data_dir / RUNS_FILE).unlink()
        await asyncio.to_thread(restore_file, target, file)
        restored = file_store(target)
        assert restored is not None
        assert await content(restored, ALICE, T1, "uploads/a.txt") == b"one" * 1_000
        assert await content(restored, BOB, None, "memory/notes") == b"two"
        (target.data_dir / RUNS_FILE).unlink()
        with pytest.raises(TransferError, match="has files already"):
            await asyncio.to_thread(restore_file, target, file)
        # A backup of a bucket can be restored into a folder, too.
        folder = load_settings({"data_dir": tmp_path / "folder"}, project=tmp_path)
        await asyncio.to_thread(restore_file, folder, file)
        assert await content(DiskFiles(folder.data_dir / "files"), BOB, None, "memory/notes") == b"two"
