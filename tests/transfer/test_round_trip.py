"""A round trip changes no row, for any content."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from sqlalchemy import Connection, text

from runstead.infra.storage.checkpoint_tables import marks
from runstead.infra.transfer.archive import Archive
from runstead.infra.transfer.endpoints import Place
from runstead.infra.transfer.export import export
from runstead.infra.transfer.import_ import import_all
from runstead.infra.transfer.reader import sums_of
from runstead.infra.transfer.sequences import sequences_of
from runstead.infra.transfer.table_groups import LEFT_OUT, moved_tables

from .conftest import NewPlace, ThreePlaces
from .rows import Rows, any_rows, put
from .samples import insert_run

_numbers = itertools.count()


async def moved(source: Place, target: Place, folder: Path, *, member_bytes: int = 20_000) -> None:
    """Through a file, a different one each time."""
    file = folder / f"export-{next(_numbers)}.zip"
    manifest = await export(source, file, member_bytes=member_bytes)
    assert manifest.tables == await source.database.read(sums_of)
    with Archive.opened(file) as archive:
        imported = await import_all(archive, target)
    assert (imported.written, imported.more) == (manifest.rows, 0)


# No shrinking on failure: an example is three databases written and read.
@settings(max_examples=8, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(rows=any_rows)
def test_all_data_survives_a_round_trip_through_postgresql(rows: Rows, three_places: ThreePlaces) -> None:
    three_places.run(_there_and_back(rows, *three_places.emptied()))


async def _there_and_back(rows: Rows, source: Place, shared: Place, back: Place) -> None:
    with tempfile.TemporaryDirectory() as name:
        await source.database.write(lambda connection: put(connection, rows))
        await moved(source, shared, Path(name))
        await moved(shared, back, Path(name), member_bytes=1)
        sums = await source.database.read(sums_of)
        assert {name: found.rows for name, found in sums.items()} == {name: len(some) for name, some in rows.items()}
        assert sums == await shared.database.read(sums_of) == await back.database.read(sums_of)


async def test_every_table_is_moved_or_excluded_with_a_reason(new_place: NewPlace) -> None:
    async with new_place() as place:
        there = await place.database.read(_tables)
    moving = {table.name for table in moved_tables()}
    assert moving <= there
    assert not moving & set(LEFT_OUT)
    forgotten = there - moving - set(LEFT_OUT)
    assert not forgotten, "add them to PARTS, or to LEFT_OUT with a reason, in runstead/infra/transfer/table_groups.py"


async def test_every_column_is_moved(new_place: NewPlace) -> None:
    async with new_place() as place:
        for table in moved_tables():
            there = await place.database.read(partial(_columns, table=table.name))
            # pgvector's form of the vector, which servers derive when they start.
            there -= {"meaning"} if table.name == "item_vectors" else set()
            # SQLite always has it.
            assert there | ({"rowid"} if table is marks else set()) == {column.name for column in table.c}


async def test_sequences_continue_above_all_imported_numbers(
    new_place: NewPlace, new_data_dir: NewPlace, tmp_path: Path
) -> None:
    """Also above those of deleted rows."""
    async with new_data_dir() as source, new_place() as target:
        await source.database.write(_run_of(7))
        await source.database.write(_run_of(41))
        await source.database.write(_gone)
        await moved(source, target, tmp_path)
        # Other tests may have used the schema's sequences before.
        highest = (await target.database.read(sequences_of))["runs.queue_seq"]
        assert highest >= 41
        await target.database.write(_run_of(None))
        assert (await target.database.read(sequences_of))["runs.queue_seq"] == highest + 1
        await target.database.write(_mark)


def _run_of(number: int | None) -> Callable[[Connection], None]:
    return lambda connection: insert_run(connection, f"run-{number}", queue_seq=number)


def _gone(connection: Connection) -> None:
    connection.execute(text("DELETE FROM runs WHERE queue_seq = 41"))


def _mark(connection: Connection) -> None:
    connection.execute(text("INSERT INTO marks (thread_id, run_id) VALUES ('t', 'r')"))


def _tables(connection: Connection) -> set[str]:
    if connection.dialect.name == "postgresql":
        names = text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    else:
        names = text("SELECT tbl_name FROM sqlite_master UNION SELECT tbl_name FROM checkpoints.sqlite_master")
    return set(connection.execute(names).scalars())


def _columns(connection: Connection, table: str) -> set[str]:
    if connection.dialect.name == "postgresql":
        names = text(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_schema = current_schema() AND table_name = :name"
        )
    else:
        names = text("SELECT name FROM pragma_table_info(:name)")
    return set(connection.execute(names, {"name": table}).scalars())
