"""Sources and targets of transfers: directories, and schemas of one PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from sqlalchemy import Connection, delete

from runstead.infra.engines.postgres_pool import PostgresOptions
from runstead.infra.transfer.endpoints import Place, data_dir_place, postgres_place
from runstead.infra.transfer.table_groups import moved_tables
from tests.servers.postgres import PostgresSchema

NewPlace: TypeAlias = Callable[[], AbstractAsyncContextManager[Place]]


@pytest.fixture
def new_data_dir(tmp_path: Path) -> NewPlace:
    """Another empty directory each time."""
    numbers = itertools.count()
    return lambda: data_dir_place(tmp_path / f"data-{next(numbers)}", making=True)


@pytest.fixture
async def postgres(postgres_schema: PostgresSchema) -> NewPlace:
    """One schema, empty when the test begins."""
    await postgres_schema.emptied()
    options = PostgresOptions(pool_size=2, schema=postgres_schema.name)
    return lambda: postgres_place(postgres_schema.url, options, making=True)


class ThreePlaces:
    """Two directories, and between them a schema: opened once, on their own loop, for many examples of a test."""

    def __init__(self, runner: asyncio.Runner, places: Sequence[Place]) -> None:
        self._runner, self._places = runner, places

    def run(self, doing: Coroutine[Any, Any, None]) -> None:
        self._runner.run(doing)

    def emptied(self) -> Sequence[Place]:
        for place in self._places:
            self._runner.run(place.database.write(_empty))
        return self._places


@pytest.fixture(scope="module")
def three_places(tmp_path_factory: pytest.TempPathFactory, postgres_schema: PostgresSchema) -> Iterator[ThreePlaces]:
    folder = tmp_path_factory.mktemp("places")
    options = PostgresOptions(pool_size=2, schema=postgres_schema.name)
    opening = (
        data_dir_place(folder / "from", making=True),
        postgres_place(postgres_schema.url, options, making=True),
        data_dir_place(folder / "back", making=True),
    )
    with asyncio.Runner() as runner:
        yield ThreePlaces(runner, [runner.run(place.__aenter__()) for place in opening])
        for place in opening:
            runner.run(place.__aexit__(None, None, None))


def _empty(connection: Connection) -> None:
    for table in reversed(list(moved_tables())):
        if table.name == "audit_log":
            # Rows of this one cannot be deleted.
            _clear_audit_log(connection)
        else:
            connection.execute(delete(table))


@pytest.fixture(params=["data dir", "postgres"])
def new_place(request: pytest.FixtureRequest) -> NewPlace:
    """An empty place of either kind."""
    found: NewPlace = request.getfixturevalue("new_data_dir" if request.param == "data dir" else "postgres")
    return found


def _clear_audit_log(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("TRUNCATE audit_log")
        return
    (trigger,) = connection.exec_driver_sql(
        "SELECT sql FROM sqlite_master WHERE name = 'audit_log_no_delete'"
    ).scalars()
    connection.exec_driver_sql("DROP TRIGGER audit_log_no_delete")
    connection.exec_driver_sql("DELETE FROM audit_log")
    connection.exec_driver_sql(trigger)
