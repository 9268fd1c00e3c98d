"""Retention deletes what its rules say, nothing that something else needs, and exactly what the dry run shows."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from runstead.bootstrap.retention import open_retention
from runstead.infra.checkpoints.retention import CheckpointRetention, created_at
from runstead.infra.checkpoints.sqlite import open_checkpoints
from runstead.infra.engines.sqlite import open_sqlite
from runstead.infra.engines.sqlite_space import give_back_space
from runstead.infra.storage.database import Database
from runstead.resources.retention import RetentionReport, RetentionRule, StoredCheckpoint, deletable, rule_for
from runstead.runtime.pace import Pace
from runstead.runtime.runs.types import ThreadId
from runstead.settings import Settings, SettingsError, load_settings
from runstead.settings.retention import RetentionSetting
from runstead.testing.clock import ManualClock

from .conftest import application_of, execute

NOW = datetime(2030, 1, 1, tzinfo=UTC)
PACE = Pace(ManualClock(), 1)
T = TypeVar("T")


def chain(count: int, **changed: Any) -> list[StoredCheckpoint]:
    """One checkpoint a day, the newest of today."""
    return [
        StoredCheckpoint(
            checkpoint_id=str(number),
            parent_id=str(number - 1) if number else None,
            position=number,
            created_at=NOW - timedelta(days=count - 1 - number),
            step=number - 1,
            **changed,
        )
        for number in range(count)
    ]


def ids(checkpoints: Sequence[StoredCheckpoint]) -> list[int]:
    return sorted(int(one.checkpoint_id) for one in checkpoints)


def test_checkpoints_beyond_the_newest_are_deleted() -> None:
    over = deletable(chain(10), RetentionRule(checkpoints_per_thread=3), NOW)
    assert ids(over) == [0, 1, 2, 3, 4, 5, 6]


def test_old_checkpoints_are_deleted_but_the_latest_stays() -> None:
    assert ids(deletable(chain(10), RetentionRule(checkpoints_days=4.5), NOW)) == [0, 1, 2, 3, 4]
    old = RetentionRule(checkpoints_days=0.1)
    assert ids(deletable(chain(3), old, NOW + timedelta(days=99))) == [0, 1]


def test_every_nth_step_stays() -> None:
    rule = RetentionRule(checkpoints_per_thread=1, checkpoints_every=4)
    # Steps begin with -1: checkpoints 1, 5 and 9 have the steps 0, 4 and 8.
    assert ids(deletable(chain(11), rule, NOW)) == [0, 2, 3, 4, 6, 7, 8]


def test_interrupt_fork_and_end_of_a_branch_stay() -> None:
    checkpoints = chain(8)
    checkpoints[2] = StoredCheckpoint("2", "1", 2, NOW, is_interrupted=True)
    branch = StoredCheckpoint("20", "4", 20, NOW)
    over = deletable([*checkpoints, branch], RetentionRule(checkpoints_per_thread=1), NOW)
    # 20 is the latest, 7 the end of the other branch, 4 the fork, 5 the first one behind it.
    assert ids(over) == [0, 1, 3, 6]


def test_checkpoint_without_a_time_is_never_old() -> None:
    checkpoints = [StoredCheckpoint(str(n), str(n - 1) if n else None, n, None) for n in range(3)]
    assert deletable(checkpoints, RetentionRule(checkpoints_days=1), NOW) == []


def test_first_rule_that_fits_counts() -> None:
    rules = [RetentionRule(tenant="trial-*", runs_days=1), RetentionRule(graph="agent", runs_days=9)]
    assert rule_for(rules, "agent", "trial-7") is rules[0]
    assert rule_for(rules, "agent", "acme") is rules[1]
    assert rule_for(rules, "other", "acme") is None


def test_time_of_a_checkpoint_is_in_its_id() -> None:
    assert created_at("1f1e65a8-762f-6a74-8008-4942c32c5d5c") == pytest.approx(
        datetime(2026, 11, 22, 9, 53, 11, 805184, UTC), abs=timedelta(milliseconds=1)
    )
    assert created_at("mine") is created_at("0190f7a0-0000-7000-8000-000000000000") is None


@st.composite
def histories(draw: st.DrawFn) -> list[StoredCheckpoint]:
    """A history with branches, in which each checkpoint has a snapshot of its delta channels or writes since one."""
    made: list[StoredCheckpoint] = []
    # Simple histories too: otherwise few have several checkpoints in a row that can be deleted.
    has_branches, has_deltas, has_interrupts = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    for number in range(draw(st.integers(1, 25))):
        branches: bool = has_branches and draw(st.booleans())
        latest = made[-1] if made else None
        parent = draw(st.sampled_from(made)) if made and branches else latest
        has_snapshot = parent is None or not has_deltas or draw(st.integers(0, 3)) == 0
        made.append(
            StoredCheckpoint(
                checkpoint_id=str(number),
                parent_id=parent.checkpoint_id if parent else None,
                position=number,
                created_at=NOW - timedelta(days=draw(st.integers(0, 30))),
                step=number,
                delta_steps=0 if has_snapshot or parent is None else parent.delta_steps + 1,
                is_interrupted=has_interrupts and draw(st.integers(0, 5)) == 0,
            )
        )
    return made


rules = st.builds(
    RetentionRule,
    checkpoints_days=st.none() | st.floats(0.5, 30),
    checkpoints_per_thread=st.none() | st.integers(1, 10),
    checkpoints_every=st.none() | st.integers(1, 5),
)


@given(histories(), rules)
def test_what_a_delta_channel_a_fork_or_an_interrupt_needs_stays(
    history: list[StoredCheckpoint], rule: RetentionRule
) -> None:
    gone = {one.checkpoint_id for one in deletable(history, rule, NOW)}
    by_id = {one.checkpoint_id: one for one in history}
    children = Counter(one.parent_id for one in history)
    for one in history:
        if one.checkpoint_id in gone:
            assert not one.is_interrupted
            assert children[one.checkpoint_id] == 1
            continue
        # With one delta channel, all that stays has its ancestors up to the snapshot.
        current = one
        for _ in range(one.delta_steps):
            assert current.parent_id is not None
            current = by_id[current.parent_id]
            assert current.checkpoint_id not in gone
    assert history[-1].checkpoint_id not in gone


@given(histories(), rules, st.integers(0, 25))
def test_deletion_that_was_cut_off_is_completed_by_the_next_pass(
    history: list[StoredCheckpoint], rule: RetentionRule, done: int
) -> None:
    over = deletable(history, rule, NOW)
    left = [one for one in history if one not in over[:done]]
    assert deletable(left, rule, NOW) == over[done:]


def stored(data: Path) -> dict[str, int]:
    """Rows and bytes of the databases of a data directory."""
    with closing(sqlite3.connect(data / "runstead.db")) as database:
        found = {
            "runs": database.execute("SELECT count(*) FROM runs").fetchone()[0],
            "events": database.execute("SELECT count(*) FROM run_events").fetchone()[0],
        }
    (file,) = [one for one in data.glob("*.db") if one.name != "runstead.db"]
    with closing(sqlite3.connect(file)) as database:
        found["checkpoints"], size = database.execute(
            "SELECT count(*), sum(length(checkpoint) + length(metadata)) FROM checkpoints"
        ).fetchone()
        found["writes"], written = database.execute("SELECT count(*), sum(length(value)) FROM writes").fetchone()
    return {**found, "checkpoint_bytes": size + written}


async def test_dry_run_is_exact_and_the_latest_state_stays(tmp_path: Path) -> None:
    application = application_of(tmp_path / "data")
    transport = httpx.ASGITransport(application.asgi)
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        thread = await execute(http, "works")
        body = {"assistant_id": "agent", "input": {"kind": "works"}}
        for _ in range(3):
            await http.post(f"/threads/{thread}/runs/wait", json=body)
        asking = await execute(http, "asks")
        before_state = (await http.get(f"/threads/{thread}/state")).json()
    rule = RetentionSetting(graph="agent", runs_days=1e-9, checkpoints_per_thread=1)
    settings = Settings(data_dir=tmp_path / "data", retention=(rule,))
    before = stored(tmp_path / "data")
    async with open_retention(settings) as retention:
        planned = await retention.run(dry=True)
        assert stored(tmp_path / "data") == before
        done = await retention.run()
        assert await retention.run() == RetentionReport()
    after = stored(tmp_path / "data")
    assert planned == done
    assert {name: before[name] - after[name] for name in before} == {
        name: number for name, number in done.to_json().items() if name in before
    }
    assert (done.runs, done.failed) == (3, 0)
    assert done.checkpoints > 0
    second = application_of(tmp_path / "data")
    transport = httpx.ASGITransport(second.asgi)
    async with second.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        assert (await http.get(f"/threads/{thread}/state")).json() == before_state
        assert len((await http.get(f"/threads/{thread}/history")).json()) == 1
        resumed = {"assistant_id": "agent", "command": {"resume": "yes"}}
        assert (await http.post(f"/threads/{asking}/runs/wait", json=resumed)).json() == {"kind": "yes"}


async def test_run_with_feedback_and_the_latest_run_stay(tmp_path: Path) -> None:
    application = application_of(tmp_path / "data")
    transport = httpx.ASGITransport(application.asgi)
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        thread = await execute(http, "works")
        body = {"assistant_id": "agent", "input": {"kind": "works"}}
        for _ in range(2):
            await http.post(f"/threads/{thread}/runs/wait", json=body)
        newest_first = [run["run_id"] for run in (await http.get(f"/threads/{thread}/runs")).json()]
        praise = f"/threads/{thread}/runs/{newest_first[2]}/feedback"
        assert (await http.put(praise, json={"score": 1})).status_code == 200
    settings = Settings(data_dir=tmp_path / "data", retention=(RetentionSetting(runs_days=1e-9),))
    async with open_retention(settings) as retention:
        assert (await retention.run()).runs == 1
    with closing(sqlite3.connect(tmp_path / "data" / "runstead.db")) as database:
        left = [run_id for (run_id,) in database.execute("SELECT run_id FROM runs ORDER BY queue_seq DESC")]
    assert left == [newest_first[0], newest_first[2]]


def insert_chain(connection: Connection, count: int, first: int = 0) -> None:
    """Insert checkpoints ``first`` and later of thread t, each with the one before it as its parent."""
    for number in range(first, first + count):
        parent = str(number - 1) if number else None
        connection.exec_driver_sql(
            "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type,"
            " checkpoint, metadata, position) VALUES ('t', '', ?, ?, 'json', x'00', ?, ?)",
            (str(number), parent, json.dumps({"step": number}).encode(), number),
        )


class WatchedDatabase:
    """A database that counts its transactions of writing, and calls ``before`` the first of them."""

    def __init__(self, database: Database, before: Callable[[Connection], None] | None = None) -> None:
        self._database, self._before, self.writes = database, before, 0

    async def read(self, work: Callable[[Connection], T], **options: Any) -> T:
        return await self._database.read(work, **options)

    async def write(self, work: Callable[[Connection], T], **options: Any) -> T:
        self.writes += 1
        if self.writes == 1 and self._before is not None:
            await self._database.write(self._before)
        return await self._database.write(work, **options)


async def test_thread_with_many_checkpoints_is_cleaned_in_small_transactions(tmp_path: Path) -> None:
    async with open_checkpoints(tmp_path / "checkpoints.db") as checkpoints:
        await checkpoints.database.write(partial(insert_chain, count=501))
        watched = WatchedDatabase(checkpoints.database)
        rule = RetentionRule(checkpoints_per_thread=1)
        retention = CheckpointRetention(watched)
        assert (await retention.planned({ThreadId("t"): rule}, NOW, PACE))[ThreadId("t")].checkpoints == 500
        assert (await retention.apply({ThreadId("t"): rule}, NOW, PACE))[ThreadId("t")].checkpoints == 500
        assert watched.writes == 10


async def test_thread_that_changes_after_it_was_read_is_left_for_the_next_pass(tmp_path: Path) -> None:
    async with open_checkpoints(tmp_path / "checkpoints.db") as checkpoints:
        await checkpoints.database.write(partial(insert_chain, count=5))
        rule = RetentionRule(checkpoints_per_thread=1)
        # A step is written while the first batch is about to be deleted.
        watched = WatchedDatabase(checkpoints.database, partial(insert_chain, count=1, first=5))
        assert await CheckpointRetention(watched).apply({ThreadId("t"): rule}, NOW, PACE) == {}
        # So is an interrupt of a checkpoint that was about to be deleted.
        asks = WatchedDatabase(checkpoints.database, ask)
        assert await CheckpointRetention(asks).apply({ThreadId("t"): rule}, NOW, PACE) == {}
        done = await CheckpointRetention(checkpoints.database).apply({ThreadId("t"): rule}, NOW, PACE)
        assert done[ThreadId("t")].checkpoints == 4


def ask(connection: Connection) -> None:
    connection.exec_driver_sql(
        "INSERT INTO writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, value)"
        " VALUES ('t', '', '2', 'task', 0, '__interrupt__', 'json', x'00')"
    )


async def test_thread_with_a_run_that_could_be_undone_is_left(tmp_path: Path) -> None:
    async with open_checkpoints(tmp_path / "checkpoints.db") as checkpoints:
        thread = ThreadId("t")

        await checkpoints.database.write(
            lambda connection: connection.exec_driver_sql("INSERT INTO marks (thread_id, run_id) VALUES ('t', 'r')")
        )
        await checkpoints.database.write(partial(insert_chain, count=5))
        retention = CheckpointRetention(checkpoints.database)
        rule = RetentionRule(checkpoints_per_thread=1)
        assert await retention.apply({thread: rule}, NOW, PACE) == {}
        await checkpoints.database.write(lambda c: c.exec_driver_sql("DELETE FROM marks").close())
        assert (await retention.apply({thread: rule}, NOW, PACE))[ThreadId("t")].checkpoints == 4


async def test_free_space_of_a_new_file_goes_back_to_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with open_sqlite(path) as database:

        def fill(connection: Connection) -> None:
            connection.exec_driver_sql("CREATE TABLE big (number INTEGER PRIMARY KEY, data BLOB)")
            connection.exec_driver_sql(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8000)"
                " INSERT INTO big SELECT i, zeroblob(4000) FROM n"
            )

        await database.write(fill)
        assert await give_back_space(database, PACE) == 0
        await database.write(lambda connection: connection.exec_driver_sql("DELETE FROM big").close())
        given = await give_back_space(database, PACE)
    assert given > 20_000_000
    assert path.stat().st_size < 10_000_000


@pytest.mark.parametrize(("name", "value"), [("checkpoint_days", 1), ("runs_days", 0)])
def test_wrong_rule_is_refused_with_the_name_of_its_key(name: str, value: int, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"retention: 0: {name}: "):
        load_settings({"retention": [{name: value}]}, project=tmp_path)
