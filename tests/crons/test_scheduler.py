"""Due times become runs, on a manual clock: once each, late ones merged, never without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runstead.infra.crons.scheduler import CronScheduler, CronSettings, Grant
from runstead.infra.dispatch.wakeup import WakeupSignal
from runstead.infra.storage.assistants import SqlAssistantStore
from runstead.infra.storage.crons import SqlCronStore
from runstead.infra.storage.database import Database
from runstead.resources.assistant_lookup import AssistantLookup
from runstead.resources.assistants import assistant_id_of
from runstead.resources.crons import CronFilter, CronRecord
from runstead.resources.storage_errors import StorageError
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.types import RunFilter, RunRecord, RunSpec, ThreadId
from runstead.testing.conformance.cron_store import a_cron, found, made, runs_of
from runstead.testing.conformance.run_storage import ALICE, RunStorage, decide
from runstead.wire.errors import Forbidden
from tests.processes.client import eventually

AGENT = assistant_id_of("agent")


class Creator:
    """Creates runs like the facade, or fails on request."""

    def __init__(self, storage: RunStorage) -> None:
        self._storage = storage
        self.failures: list[BaseException] = []

    async def create_background(self, spec: RunSpec) -> RunRecord:
        if self.failures:
            raise self.failures.pop(0)
        (created,) = await self._storage.create.create_runs([spec], decide)
        return created.record


class Play:
    def __init__(self, storage: RunStorage, database: Database) -> None:
        self.storage, self.bell = storage, WakeupSignal()
        self.creator = Creator(storage)
        self.crons = SqlCronStore(database, storage.clock, self.bell.notify)
        self.assistants = SqlAssistantStore(database, storage.clock)
        self.agents = SimpleNamespace(graph_ids=["agent"])

    async def begin(self) -> None:
        await self.assistants.register_graphs({"agent": None})

    def scheduler(self, *, grant: Grant | None = None, **fields: Any) -> CronScheduler:
        directory = AssistantLookup(self.assistants, cast(Any, self.agents))
        return CronScheduler(
            self.crons, self.creator, directory, self.storage.threads, self.bell, self.storage.clock,
            CronSettings(**fields), grant,
        )  # fmt: skip

    async def cron(self, schedule: str, **fields: Any) -> CronRecord:
        record = a_cron(self.storage, fields.pop("cron_id", "c-1"), assistant_id=AGENT, schedule=schedule, **fields)
        return await made(self.crons, record.scheduled(self.storage.clock.now()))

    async def one(self) -> CronRecord:
        (cron,) = await found(self.crons)
        return cron

    async def count(self) -> int:
        with acting(ALICE):
            return await self.storage.query.count_runs(RunFilter())

    async def created_at(self) -> list[datetime]:
        return sorted(run.created_at for run in await runs_of(self.storage))


@pytest.fixture
async def play(storage: RunStorage, database: Database) -> Play:
    play = Play(storage, database)
    await play.begin()
    return play


async def test_each_due_time_creates_one_run(play: Play) -> None:
    await play.cron("*/10 * * * *", metadata={"a": 1}, payload={"input": {"x": 1}, "metadata": {"b": 2}})
    scheduler, clock = play.scheduler(), play.storage.clock
    for _ in range(6):
        await clock.advance(timedelta(minutes=5))
        await scheduler.create_due()
        await scheduler.create_due()
    assert [one.minute for one in await play.created_at()] == [10, 20, 30]
    run = (await runs_of(play.storage))[0]
    assert run.actor == ALICE
    assert run.spec.input == {"x": 1}
    assert {"a": 1, "b": 2, "cron_id": "c-1", "graph_id": "agent"}.items() <= run.metadata.items()
    assert run.spec.config["configurable"]["cron_id"] == "c-1"
    assert (await play.one()).last_run_id == run.run_id


async def test_concurrent_schedulers_create_one_run(play: Play) -> None:
    for number in range(10):
        await play.cron("*/10 * * * *", cron_id=f"c-{number}")
    await play.storage.clock.advance(timedelta(minutes=10))
    await asyncio.gather(*(play.scheduler().create_due() for _ in range(5)))
    assert sorted(run.metadata["cron_id"] for run in await runs_of(play.storage)) == [f"c-{n}" for n in range(10)]


async def test_missed_executions_are_merged_into_one_run(play: Play) -> None:
    await play.cron("*/10 * * * *")
    await play.storage.clock.advance(timedelta(hours=5, minutes=7))
    await play.scheduler().create_due()
    assert len(await runs_of(play.storage)) == 1
    assert (await play.one()).next_run_date == datetime(2030, 1, 1, 5, 10, tzinfo=UTC)


async def test_execution_missed_beyond_grace_creates_no_run(play: Play) -> None:
    await play.cron("0 9 1 * *")
    await play.storage.clock.advance(timedelta(days=33, hours=10))
    await play.scheduler(grace=timedelta(days=1)).create_due()
    assert await runs_of(play.storage) == []
    cron = await play.one()
    assert cron.next_run_date == datetime(2030, 3, 1, 9, tzinfo=UTC)
    assert cron.last_error == "the moment 2030-02-01T09:00:00+00:00 was missed by more than 86400 s"


async def test_grace_is_measured_from_the_latest_missed_execution(play: Play) -> None:
    await play.cron("0 9 * * *")
    await play.storage.clock.advance(timedelta(days=5, hours=10))
    await play.scheduler(grace=timedelta(hours=2)).create_due()
    assert len(await runs_of(play.storage)) == 1


async def test_without_grace_limit_missed_executions_always_run(play: Play) -> None:
    await play.cron("0 9 1 * *")
    await play.storage.clock.advance(timedelta(days=25))
    await play.scheduler(grace=None).create_due()
    assert len(await runs_of(play.storage)) == 1


async def test_cron_past_its_end_creates_no_run(play: Play) -> None:
    end = play.storage.clock.now() + timedelta(minutes=20)
    await play.cron("*/10 * * * *", end_time=end)
    scheduler = play.scheduler()
    for _ in range(4):
        await play.storage.clock.advance(timedelta(minutes=10))
        await scheduler.create_due()
    assert [one.minute for one in await play.created_at()] == [10, 20]
    assert (await play.one()).next_run_date is None


async def test_refused_execution_is_skipped_and_its_reason_recorded(play: Play) -> None:
    await play.storage.accept(ThreadId("t-1"))
    await play.cron("*/10 * * * *", thread_id="t-1", payload={"multitask_strategy": "reject"})
    await play.storage.clock.advance(timedelta(minutes=10))
    await play.scheduler().create_due()
    cron = await play.one()
    assert "already running a task" in (cron.last_error or "")
    assert cron.next_run_date == play.storage.clock.now() + timedelta(minutes=10)


async def test_run_of_a_cron_is_authorized_as_a_new_request_of_its_user(play: Play) -> None:
    await play.cron("*/10 * * * *")

    async def stamped(cron: CronRecord, run: Any) -> Any:
        return run.model_copy(update={"metadata": {**(run.metadata or {}), "owner": "alice"}})

    async def refused(cron: CronRecord, run: Any) -> Any:
        raise Forbidden("no more")

    await play.storage.clock.advance(timedelta(minutes=10))
    await play.scheduler(grant=stamped).create_due()
    (run,) = await runs_of(play.storage)
    assert run.metadata["owner"] == "alice"
    await play.storage.clock.advance(timedelta(minutes=10))
    await play.scheduler(grant=refused).create_due()
    assert (await play.one()).last_error == "no more"
    assert len(await runs_of(play.storage)) == 1


async def test_missing_graph_is_recorded_as_the_last_error(play: Play) -> None:
    await play.cron("*/10 * * * *")
    play.agents.graph_ids = ["other"]
    await play.storage.clock.advance(timedelta(minutes=10))
    await play.scheduler().create_due()
    assert "agent" in ((await play.one()).last_error or "")


async def test_storage_failure_loses_no_execution(play: Play) -> None:
    await play.cron("*/10 * * * *")
    await play.storage.clock.advance(timedelta(minutes=10))
    play.creator.failures.append(StorageError("the disk is full"))
    with pytest.raises(StorageError):
        await play.scheduler().create_due()
    await play.scheduler().create_due()
    assert len(await runs_of(play.storage)) == 1


async def test_unexpected_error_of_one_cron_does_not_stop_others(play: Play) -> None:
    await play.cron("*/10 * * * *", cron_id="c-1")
    await play.cron("*/10 * * * *", cron_id="c-2")
    play.creator.failures.append(RuntimeError("secret of the inside"))
    await play.storage.clock.advance(timedelta(minutes=10))
    await play.scheduler().create_due()
    assert [run.metadata["cron_id"] for run in await runs_of(play.storage)] == ["c-2"]
    errors = {str(cron.cron_id): cron.last_error for cron in await found(play.crons)}
    assert "secret" not in (errors["c-1"] or "")
    assert errors["c-1"]
    assert errors["c-2"] is None


@asynccontextmanager
async def ticking(play: Play) -> AsyncIterator[Callable[[float], Any]]:
    async def passes(seconds: float) -> None:
        async def sleeps() -> bool:
            return play.storage.clock.sleepers > 0

        for _ in range(int(seconds)):
            await eventually(sleeps, 20, 0.001)
            await play.storage.clock.advance(1)
        await eventually(sleeps, 20, 0.001)

    async with play.scheduler().running():
        yield passes


async def test_scheduler_wakes_at_the_due_time(play: Play) -> None:
    async with ticking(play) as passes:
        await play.cron("* * * * * */7")
        await passes(22)
        assert [one.second for one in await play.created_at()] == [7, 14, 21]


async def test_storage_failure_does_not_end_the_scheduler(play: Play) -> None:
    play.creator.failures.append(StorageError("the disk is full"))
    async with ticking(play) as passes:
        await play.cron("* * * * * */7")
        await passes(14)

        async def both() -> Sequence[datetime] | None:
            times = await play.created_at()
            return times if len(times) >= 1 else None

        assert await eventually(both, 20)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.sampled_from(["*/5 * * * *", "3,7 * * * *"]))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_polling_creates_each_due_run_exactly_once(play: Play, minutes: list[int], schedule: str) -> None:
    with acting(ALICE):
        for cron in await play.crons.search(CronFilter()):
            await play.crons.delete(cron.cron_id)
    before = await play.count()
    cron = await play.cron(schedule)
    wanted, due = 0, cron.next_run_date
    for step in minutes:
        await play.storage.clock.advance(timedelta(minutes=step))
        await asyncio.gather(play.scheduler().create_due(), play.scheduler().create_due())
        now = play.storage.clock.now()
        assert due is not None
        wanted += due <= now
        due = cron.due_after(now)
    assert (await play.one()).next_run_date == due
    assert await play.count() - before == wanted
