"""The store of users' files that the settings name: a folder, or a bucket."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from runstead.infra.files.disk import DiskFiles
from runstead.infra.files.limits import FileLimits
from runstead.installation import install_command
from runstead.settings import Settings

from .unsupported import UnsupportedConfiguration

if TYPE_CHECKING:
    from runstead.infra.files.s3 import S3Files

_URL: Final = re.compile(r"s3://[^/\s?#]+(?:/[^\s?#]*)?")


def file_store(settings: Settings) -> DiskFiles | S3Files | None:
    """Return the store of files; None in a cluster without one that all its nodes share.

    Raises UnsupportedConfiguration.
    """
    limits = FileLimits(settings.files_max_file_bytes, settings.files_user_bytes)
    if settings.files_url is not None:
        return _bucket(settings.files_url, limits, settings.files_cache_bytes)
    folder = settings.files_dir or (None if settings.is_cluster else settings.data_dir / "files")
    return None if folder is None else DiskFiles(folder, limits)


def _bucket(url: str, limits: FileLimits, cache_bytes: int) -> S3Files:
    if not _URL.fullmatch(url):
        raise UnsupportedConfiguration("files_url: a bucket is named as s3://bucket/prefix")
    if find_spec("obstore") is None:
        raise UnsupportedConfiguration(f"files_url: install the extra s3: {install_command('s3')}")
    # Imported here, since only this store needs the library.
    from obstore.store import S3Store

    from runstead.infra.files.s3 import S3Files

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint is None:
        return S3Files(S3Store.from_url(url), url, limits, cache_bytes)
    # Stores beside Amazon's have buckets as paths. An operator who names an address without TLS means it.
    store = S3Store.from_url(
        url,
        endpoint=endpoint,
        virtual_hosted_style_request=False,
        client_options={"allow_http": endpoint.startswith("http://")},
    )
    return S3Files(store, url, limits, cache_bytes)
