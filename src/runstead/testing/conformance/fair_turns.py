"""The conformance suite of lease stores whose runs take fair turns.

Subclass it and provide ``storage``, whose lease store has fair turns; see `run_storage`. Its runs have no scheduling
except the one that a test gives them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from runstead.runtime.actor_context import acting
from runstead.runtime.runs.fair_turns import RISES_AFTER
from runstead.runtime.runs.types import RunId, Scheduling, StopReason, ThreadId, ThreadPriority, WorkerId

from .run_storage import DONE, TERM, RunStorage


def in_group(group: str) -> Scheduling:
    return Scheduling(group)


def assigned(priority: int, group: str | None = None) -> Scheduling:
    """Return the scheduling as a priority function assigns it; ``user`` is the default group."""
    return Scheduling("user", by_thread=True, assigned=ThreadPriority(priority, group))


class FairTurnsConformance:
    """The suite of fair turns. Subclass it and provide ``storage``."""

    async def test_waiting_alternates_groups_despite_a_backlog(self, storage: RunStorage) -> None:
        for number in range(4):
            await storage.accept(ThreadId(f"a-{number}"), run_id=f"a-{number}", scheduling=in_group("a"))
        await storage.clock.advance(1)
        for number in range(2):
            await storage.accept(ThreadId(f"b-{number}"), run_id=f"b-{number}", scheduling=in_group("b"))
        assert await storage.leases.list_claimable(10) == ["a-0", "b-0", "a-1", "b-1", "a-2", "a-3"]
        assert await storage.leases.list_claimable(3) == ["a-0", "b-0", "a-1"]

    async def test_waiting_puts_the_group_with_fewer_running_runs_first(self, storage: RunStorage) -> None:
        for number in range(4):
            run = await storage.accept(ThreadId(f"a-{number}"), run_id=f"a-{number}", scheduling=in_group("a"))
            if number < 2:
                await storage.begun(run)
        for number in range(3):
            await storage.accept(ThreadId(f"b-{number}"), run_id=f"b-{number}", scheduling=in_group("b"))
        assert await storage.leases.list_claimable(10) == ["b-0", "b-1", "a-2", "b-2", "a-3"]

    async def test_waiting_puts_the_idle_group_with_the_oldest_turn_first(self, storage: RunStorage) -> None:
        for number in range(3):
            await storage.accept(ThreadId(f"a-{number}"), run_id=f"a-{number}", scheduling=in_group("a"))
        await storage.clock.advance(1)
        for number in range(3):
            await storage.accept(ThreadId(f"b-{number}"), run_id=f"b-{number}", scheduling=in_group("b"))
        order: list[str] = []
        while waiting := await storage.leases.list_claimable(1):
            await storage.clock.advance(1)
            lease = await storage.leases.claim(waiting[0], WorkerId("w-1"), TERM)
            assert lease is not None
            await storage.leases.settle(await storage.leases.begin(lease, None), DONE)
            order.append(waiting[0])
        assert order == ["a-0", "b-0", "a-1", "b-1", "a-2", "b-2"]

    async def test_waiting_puts_the_more_urgent_run_first_in_any_group(self, storage: RunStorage) -> None:
        for name, priority in (("late", 5), ("usual", 0), ("urgent", -5)):
            await storage.accept(ThreadId(name), run_id=name, scheduling=assigned(priority))
        other = await storage.accept(ThreadId("other"), run_id="other", scheduling=in_group("other"))
        assert await storage.leases.list_claimable(10) == ["urgent", "other", "usual", "late"]
        await storage.begun(await storage.accept(ThreadId("begun"), scheduling=assigned(-5)))
        assert await storage.leases.list_claimable(10) == ["urgent", other.run_id, "usual", "late"]

    async def test_waiting_adds_the_priority_of_the_graph(self, storage: RunStorage) -> None:
        for name, urgency, graph in (("a", -2, 0), ("b", 0, 10), ("c", 0, 0), ("d", -3, -2)):
            await storage.accept(
                ThreadId(name), run_id=name, scheduling=replace(assigned(urgency), graph_priority=graph)
            )
        assert await storage.leases.list_claimable(10) == ["b", "a", "d", "c"]

    async def test_priority_of_a_waiting_group_rises_until_its_turn(self, storage: RunStorage) -> None:
        for number in range(2):
            await storage.accept(ThreadId(f"late-{number}"), run_id=f"late-{number}", scheduling=assigned(1, "late"))
        await storage.clock.advance(RISES_AFTER.total_seconds() * 6)
        for number in range(3):
            await storage.accept(ThreadId(f"now-{number}"), run_id=f"now-{number}", scheduling=assigned(-5, "now"))
        assert await storage.leases.list_claimable(10) == ["late-0", "now-0", "now-1", "now-2", "late-1"]

    async def test_waiting_beyond_shared_lists_only_groups_without_running_runs(self, storage: RunStorage) -> None:
        await storage.begun(await storage.accept(ThreadId("begun"), scheduling=in_group("a")))
        for group in "abc":
            for number in range(2):
                name = f"{group}-{number}"
                await storage.accept(ThreadId(name), run_id=name, scheduling=in_group(group))
        assert await storage.leases.list_claimable(10, 0) == ["b-0", "c-0"]
        assert await storage.leases.list_claimable(10, 3) == ["b-0", "c-0", "a-0"]
        assert await storage.leases.list_claimable(10, 1) == ["b-0", "c-0"]

    async def test_turns_change_neither_thread_order_nor_due_times(self, storage: RunStorage) -> None:
        first = await storage.accept(ThreadId("t-1"), scheduling=in_group("a"))
        second = await storage.accept(ThreadId("t-1"), scheduling=in_group("b"))
        await storage.accept(ThreadId("t-2"), run_id="later", scheduling=in_group("c"), after_seconds=60)
        assert await storage.leases.list_claimable(10) == [first.run_id]
        assert await storage.leases.next_due() == storage.clock.now() + timedelta(seconds=60)
        await storage.leases.settle(await storage.begun(first), DONE)
        assert await storage.leases.list_claimable(10) == [second.run_id]
        await storage.clock.advance(60)
        assert await storage.leases.list_claimable(10) == [second.run_id, "later"]

    async def test_released_recovered_or_retried_run_keeps_its_turn(self, storage: RunStorage) -> None:
        run = await storage.accept(ThreadId("t-1"), run_id="run", scheduling=assigned(-2, "a"), max_attempts=1)
        await storage.accept(ThreadId("t-2"), run_id="other", scheduling=assigned(-1, "b"))
        await storage.leases.release(await storage.begun(run))
        assert await storage.leases.list_claimable(10) == ["run", "other"]
        await storage.begun(run)
        await storage.clock.advance(TERM.total_seconds() + 1)
        await storage.leases.recover(RunId("run"), 1)
        assert await storage.leases.list_claimable(10) == ["other"]
        await storage.leases.retry(RunId("run"))
        assert await storage.leases.list_claimable(10) == ["run", "other"]

    async def test_priority_of_a_thread_is_the_first_assigned_one(self, storage: RunStorage) -> None:
        first = await storage.accept(ThreadId("t-1"), scheduling=assigned(-3, "a"))
        await storage.leases.settle(await storage.begun(first), DONE)
        await storage.accept(ThreadId("t-1"), run_id="again", scheduling=assigned(4, "b"))
        await storage.accept(ThreadId("t-2"), run_id="more", scheduling=assigned(-2, "b"))
        await storage.accept(ThreadId("t-3"), run_id="usual", scheduling=Scheduling("user", by_thread=True))
        assert await storage.leases.list_claimable(10) == ["again", "more", "usual"]

    async def test_priority_of_a_thread_is_ignored_without_a_priority_function(self, storage: RunStorage) -> None:
        first = await storage.accept(ThreadId("t-1"), scheduling=assigned(5, "a"))
        await storage.leases.settle(await storage.begun(first), DONE)
        await storage.accept(ThreadId("t-1"), run_id="again", scheduling=in_group("user"))
        await storage.clock.advance(1)
        await storage.accept(ThreadId("t-2"), run_id="more", scheduling=assigned(1, "b"))
        assert await storage.leases.list_claimable(10) == ["again", "more"]

    async def test_waiting_omits_a_stopped_run(self, storage: RunStorage) -> None:
        await storage.accept(ThreadId("t-1"), run_id="run", scheduling=in_group("a"))
        await storage.leases.request_stop(RunId("run"), StopReason.BY_USER)
        assert await storage.leases.list_claimable(10) == []

    async def test_priority_of_a_thread_is_deleted_with_it(self, storage: RunStorage) -> None:
        first = await storage.accept(ThreadId("t-1"), scheduling=assigned(-5))
        await storage.leases.settle(await storage.begun(first), DONE)
        with acting(storage.actor):
            assert await storage.threads.delete(ThreadId("t-1"))
        await storage.accept(ThreadId("t-1"), run_id="again", scheduling=Scheduling("user", by_thread=True))
        await storage.accept(ThreadId("t-2"), run_id="more", scheduling=assigned(-1))
        assert await storage.leases.list_claimable(10) == ["more", "again"]
