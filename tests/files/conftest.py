"""An S3-compatible server for all tests of files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.s3 import s3_server


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    with s3_server() as url:
        yield url
