"""The stores of users' files: a folder, and a bucket of an S3-compatible server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runstead.infra.files.disk import DiskFiles
from runstead.infra.files.limits import FileLimits
from runstead.infra.files.s3 import S3Files
from runstead.resources.storage_errors import StorageUnavailable
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
from tests.servers.s3 import store_in

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
