"""The stores of users' files: a folder, and a bucket of an S3-compatible server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from runstead.bootstrap.files import file_store
from runstead.infra.files.disk import DiskFiles
from runstead.infra.files.limits import FileLimits
from runstead.infra.files.s3 import S3Files
from runstead.resources.storage_errors import StorageUnavailable
from runstead.settings import load_settings
from runstead.testing.conformance.file_store import (
    ALICE,
    FILE_BYTES,
    T1,
    USER_BYTES,
    USER_FILES,
    FileStoreConformance,
    chunks,
    content,
    paths,
)
from runstead.workspace import ArchiveTooLarge
from tests.servers.s3 import CREDENTIALS, ENCRYPTIONS, REQUESTS, new_bucket, store_in

LIMITS = FileLimits(FILE_BYTES, USER_BYTES, USER_FILES)


class TestDiskFiles(FileStoreConformance):
    @pytest.fixture
    def files(self, tmp_path: Path) -> DiskFiles:
        return DiskFiles(tmp_path / "files", LIMITS)

    @pytest.fixture
    def other(self, tmp_path: Path) -> DiskFiles:
        return DiskFiles(tmp_path / "other", LIMITS)


class TestS3Files(FileStoreConformance):
    @pytest.fixture
    def files(self, s3_url: str) -> S3Files:
        return S3Files(store_in(s3_url)(), "s3://tests", LIMITS)

    @pytest.fixture
    def other(self, tmp_path: Path) -> DiskFiles:
        return DiskFiles(tmp_path / "other", LIMITS)


class TestS3FilesAsDestination(TestS3Files):
    @pytest.fixture
    def files(self, tmp_path: Path) -> DiskFiles:
        return DiskFiles(tmp_path / "files", LIMITS)

    @pytest.fixture
    def other(self, s3_url: str) -> S3Files:
        return S3Files(store_in(s3_url)(), "s3://tests", LIMITS)


@pytest.fixture
def bucket(s3_url: str) -> S3Files:
    return S3Files(store_in(s3_url)(), "s3://tests")


async def test_a_large_file_is_read_in_parts(bucket: S3Files) -> None:
    data = os.urandom(9 * 1024 * 1024)
    await bucket.write(ALICE, T1, "uploads/big", chunks(data))
    opened = await bucket.open(ALICE, T1, "uploads/big")
    assert await opened.read(4_000_000, 500_000) == data[4_000_000:4_500_000]
    assert await opened.read(len(data) - 5, 100) == data[-5:]
    async with bucket.working(ALICE, T1) as working:
        assert (working.workspace.uploads / "big").read_bytes() == data


async def test_a_run_leaves_what_it_did_not_save(bucket: S3Files) -> None:
    async with bucket.working(ALICE, T1) as working:
        folder = working.workspace.root
        (working.workspace.outputs / "half").write_bytes(b"1")
    assert (await paths(bucket, ALICE, T1), folder.exists()) == ([], False)


async def requests_of(files: S3Files) -> Counter[str]:
    """Return the number of requests for the copy of a run, by method."""
    before = len(REQUESTS)
    async with files.working(ALICE, T1):
        return Counter(method for method, _ in REQUESTS[before:])


async def test_a_run_reads_only_files_that_have_changed_since_the_last_run(s3_url: str) -> None:
    open_store = store_in(s3_url)
    store = open_store()
    bucket, other = S3Files(store, "s3://tests"), S3Files(store, "s3://tests")
    for number in range(4):
        await bucket.write(ALICE, T1, f"uploads/{number}", chunks(f"first {number}".encode()))
    await bucket.write(ALICE, None, "memory/notes", chunks(b"note"))
    assert await requests_of(bucket) == {"LIST": 2, "GET": 5}
    assert await requests_of(bucket) == {"LIST": 2}
    # Another process replaces one.
    await other.write(ALICE, T1, "uploads/2", chunks(b"other 2"))
    assert await requests_of(bucket) == {"LIST": 2, "GET": 1}
    async with bucket.working(ALICE, T1) as working:
        assert (working.workspace.uploads / "2").read_bytes() == b"other 2"
        (working.workspace.uploads / "1").write_bytes(b"changed 1")
        assert working.save is not None
        await working.save()
    # What a run has stored itself is here, too.
    assert await requests_of(bucket) == {"LIST": 2}
    async with bucket.working(ALICE, T1) as working:
        texts = [path.read_text() for path in sorted(working.workspace.uploads.iterdir())]
    assert texts == ["first 0", "changed 1", "other 2", "first 3"]


async def test_kept_files_are_bounded_and_a_damaged_one_is_read_again(s3_url: str) -> None:
    bucket = S3Files(store_in(s3_url)(), "s3://tests", cache_bytes=400)
    for number in range(6):
        await bucket.write(ALICE, T1, f"uploads/{number}", chunks(b"x" * 100))
    await bucket.write(ALICE, T1, "uploads/large", chunks(b"y" * 101))
    assert (await requests_of(bucket))["GET"] == 7
    folder = Path(bucket._cache._folder.name)  # type: ignore[union-attr]
    kept = sorted(folder.iterdir())  # noqa: ASYNC240
    assert [path.stat().st_size for path in kept] == [100] * 4
    for path in kept:
        path.write_bytes(b"z")
    async with bucket.working(ALICE, T1) as working:
        assert {path.read_bytes() for path in working.workspace.uploads.iterdir()} == {b"x" * 100, b"y" * 101}


async def test_bucket_encrypts_files_as_the_environment_says(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": s3_url, "AWS_SERVER_SIDE_ENCRYPTION": "AES256"}.items():
        monkeypatch.setenv(name, value)
    name = new_bucket(s3_url)
    files = file_store(load_settings({"files_url": f"s3://{name}", "data_dir": "unused"}))
    assert isinstance(files, S3Files)
    await files.write(ALICE, T1, "uploads/a", chunks(b"1"))
    asked = {path: value for path, value in ENCRYPTIONS.items() if path.startswith(f"/{name}/files/")}
    assert [(path.rpartition("/")[2], value) for path, value in asked.items()] == [("a", "AES256")]


async def test_archive_of_more_than_the_quota_is_refused(tmp_path: Path, bucket: S3Files) -> None:
    limits = FileLimits(user_bytes=1000)
    for files in (DiskFiles(tmp_path, limits), S3Files(bucket._store, "s3://tests", limits)):
        async with files.working(ALICE, T1) as working:
            with (working.workspace.outputs / "sparse").open("wb") as file:
                file.truncate(1001)
            if working.save is not None:
                await working.save()
        with pytest.raises(ArchiveTooLarge, match="download them one by one"):
            await files.archive(ALICE, T1)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
async def test_links_and_unsafe_names_of_a_run_are_not_stored(bucket: S3Files) -> None:
    async with bucket.working(ALICE, T1) as working:
        outputs = working.workspace.outputs
        (outputs / "link").symlink_to("/etc/passwd")
        (outputs / "a:b").write_bytes(b"1")
        (outputs / "good").write_bytes(b"2")
        assert working.save is not None
        await working.save()
    assert await paths(bucket, ALICE, T1) == ["outputs/good"]


async def test_runs_of_one_user_keep_what_others_wrote_into_the_memory(bucket: S3Files) -> None:
    await bucket.write(ALICE, None, "memory/both", chunks(b"0"))
    async with bucket.working(ALICE, T1) as first:
        (first.workspace.memory / "first").write_bytes(b"1")
        await bucket.write(ALICE, None, "memory/second", chunks(b"2"))
        await bucket.write(ALICE, None, "memory/both", chunks(b"3"))
        assert first.save is not None
        await first.save()
    assert await paths(bucket, ALICE, None) == ["memory/both", "memory/first", "memory/second"]
    assert await content(bucket, ALICE, None, "memory/both") == b"3"


async def test_an_unreachable_store_is_an_error_with_its_name(s3_url: str) -> None:
    store = store_in(s3_url)()
    gone = type(store)(
        "gone-bucket",
        endpoint=s3_url,
        access_key_id="x",
        secret_access_key="y",
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    files = S3Files(gone, "s3://gone-bucket")
    with pytest.raises(StorageUnavailable, match="s3://gone-bucket cannot be reached"):
        await files.list(ALICE, T1)


def test_a_server_without_a_bucket_does_not_import_the_library() -> None:
    code = "import sys, runstead.bootstrap.files, runstead.cli.main; sys.exit('obstore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
