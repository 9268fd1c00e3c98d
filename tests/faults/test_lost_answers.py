"""Lost replies of a storage that applied the write: the streams of runs that it ended get their terminal event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from runstead.runtime.actor_context import acting
from runstead.runtime.runs.store import CreatedRun, Decide, StopRequest
from runstead.runtime.runs.types import RunFilter, RunId, RunRecord, RunSpec, StopReason, ThreadId
from runstead.testing.fakes import InMemoryLeaseStore, InMemoryRunStore

from .kernel import ALICE, LONG, Storage, a_spec


class AnswerLost(Exception):
    """The write is applied; the reply is lost."""


class MuteLeases(InMemoryLeaseStore):
    mute = False

    async def request_stop(self, run_id: str, reason: StopReason) -> StopRequest | None:
        asked = await super().request_stop(RunId(run_id), reason)
        if self.mute:
            raise AnswerLost
        return asked


class MuteRuns(InMemoryRunStore):
    """``away``: number of reads that fail after a reply was lost."""

    mute = False
    away = 0

    async def create_runs(self, specs: Sequence[RunSpec], decide: Decide) -> Sequence[CreatedRun]:
        created = await super().create_runs(specs, decide)
        if self.mute:
            raise AnswerLost
        return created

    async def get_run(self, run_id: str) -> RunRecord | None:
        if self.mute and self.away:
            self.away -= 1
            raise AnswerLost
        return await super().get_run(RunId(run_id))


async def ends(storage: Storage, run_id: str) -> bool:
    """Within the time that a storage may be unavailable."""
    for _ in range(40):
        status = await storage.bridge.status(run_id)
        if status is not None and status.is_terminal:
            return True
        await storage.clock.advance(0.5)
    return False


def ports_of(storage: Storage) -> dict[str, Any]:
    runs = MuteRuns(storage.tables, storage.bell.notify)
    leases = MuteLeases(storage.tables, storage.bell.notify)
    return {"create_store": runs, "query_store": runs, "lease_store": leases, "limits": LONG}


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_lost_reply_to_a_cancel_still_ends_the_stream(action: Any) -> None:
    storage = Storage()
    ports = ports_of(storage)
    async with storage.workers(False, **ports) as (runs,):
        with acting(ALICE):
            _, stream = await runs.create_and_stream(a_spec("r1"))
            ports["lease_store"].mute = True
            with pytest.raises(AnswerLost):
                await runs.cancel(RunId("r1"), action=action)
            assert await ends(storage, "r1")
            await stream.aclose()


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_lost_reply_to_a_superseding_create_ends_the_replaced_streams(strategy: Any) -> None:
    storage = Storage()
    ports = ports_of(storage)
    async with storage.workers(False, **ports) as (runs,):
        with acting(ALICE):
            for run_id in ("r1", "r2"):
                _, stream = await runs.create_and_stream(a_spec(run_id))
                await stream.aclose()
            ports["create_store"].mute, ports["create_store"].away = True, 3
            with pytest.raises(AnswerLost):
                await runs.create_background(a_spec("r3", multitask_strategy=strategy))
            assert [await ends(storage, run_id) for run_id in ("r1", "r2")] == [True, True]
            (left,) = [
                run.run_id for run in await runs.list_runs(RunFilter(ThreadId("t1"))) if not run.status.is_terminal
            ]
            assert left == "r3"


async def test_write_that_was_not_applied_ends_no_stream() -> None:
    storage = Storage()
    ports = ports_of(storage)

    class Failing(InMemoryLeaseStore):
        async def request_stop(self, run_id: str, reason: StopReason) -> StopRequest | None:
            raise AnswerLost

    ports["lease_store"] = Failing(storage.tables, storage.bell.notify)
    async with storage.workers(False, **ports) as (runs,):
        with acting(ALICE):
            _, stream = await runs.create_and_stream(a_spec("r1"))
            with pytest.raises(AnswerLost):
                await runs.cancel(RunId("r1"))
            assert not await ends(storage, "r1")
            await stream.aclose()
