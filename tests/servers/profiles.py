"""One server in this process on either profile's storage, for tests of behaviour that clients see."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.infra.engines.data_dir import RUNS_FILE
from runstead.infra.engines.postgres_pool import PostgresOptions
from runstead.infra.storage.api_keys import SqlApiKeyStore
from runstead.infra.storage.database import Database
from runstead.infra.storage.postgres import open_postgres_storage
from runstead.infra.storage.sqlite import open_storage
from runstead.resources.api_keys import ApiKeyRecord

from .postgres import a_schema
from .sqlite import current_data
from .valkey import valkey_cluster_url, valkey_url

PROFILES: Final = ("embedded", "scaled")


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis or Valkey in which tests may create keys."""
    with valkey_url(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture(scope="session")
def redis_cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Valkey cluster in which tests may create keys."""
    with valkey_cluster_url(tmp_path_factory.mktemp("cluster")) as url:
        yield url


@asynccontextmanager
async def served(
    config: Path,
    folder: Path,
    request: pytest.FixtureRequest,
    *,
    api_keys: Sequence[ApiKeyRecord] = (),
    **settings: Any,
) -> AsyncIterator[str]:
    """Serve ``config`` on the profile in ``request.param`` and yield the URL. Data is deleted afterwards.

    ``api_keys`` are stored before the first request.
    """
    chosen: dict[str, Any] = {"port": 0, "shutdown_grace_seconds": 0.1, "shutdown_notice_seconds": 0, **settings}
    if request.param == "embedded":
        data = current_data(folder / "data")
        async with open_storage(data / RUNS_FILE) as database:
            await _add(api_keys, database)
        async with serving(Application.from_file(config, data_dir=data, **chosen)) as url:
            yield url
        return
    database_url, schema = request.getfixturevalue("postgres_url"), a_schema()
    shared = {"database_url": database_url, "redis_url": request.getfixturevalue("redis_url")}
    async with open_postgres_storage(database_url, PostgresOptions(pool_size=2, schema=schema)) as database:
        try:
            application = Application.from_file(
                config, data_dir=folder / "data", database_schema=schema, database_pool_size=4, **shared, **chosen
            )
            async with serving(application) as url:
                await _add(api_keys, database)
                yield url
        finally:
            await database.write(lambda c: c.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE").close())


async def _add(keys: Sequence[ApiKeyRecord], database: Database) -> None:
    for key in keys:
        await SqlApiKeyStore(database).add(key)
