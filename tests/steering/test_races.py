"""Random orders of sending, taking, storing, crashing, withdrawing and ending: no message is lost, none arrives twice.

The agent is played here: what it took becomes part of its state when a checkpoint is stored, and is forgotten by a
crash before that.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runstead.infra.storage.run_create import SqlRunCreateStore
from runstead.infra.storage.sqlite import open_storage
from runstead.infra.storage.steering import SqlSteeringStore
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.steering import MessageId, MessageNotWaiting, TakenMessage, TakingTask
from runstead.runtime.runs.types import Lease, RunId, ThreadId, WorkerId
from runstead.testing.conformance.run_storage import ALICE, DONE, TERM, RunStorage
from tests.servers.sqlite import current
from tests.servers.stores import stores_over

ACTIONS = ("send", "take", "store", "store and crash", "crash", "end", "withdraw", "scan")
THREADS = count()


@dataclass
class Play:
    """One thread with its agent. ``state`` is stored, ``fresh`` is what the agent took since then."""

    storage: RunStorage
    steering: SqlSteeringStore
    thread: ThreadId = field(default_factory=lambda: ThreadId(f"t-{next(THREADS)}"))
    lease: Lease | None = None
    sent: list[str] = field(default_factory=list)
    withdrawn: set[str] = field(default_factory=set)
    state: list[str] = field(default_factory=list)
    stored: set[MessageId] = field(default_factory=set)
    fresh: list[tuple[TakenMessage, str]] = field(default_factory=list)
    steps: int = 0

    async def do(self, action: str) -> None:
        match action:
            case "send":
                await self.send()
            case "take" if self.lease is not None:
                await self.take(self.lease)
            case "store" if self.lease is not None:
                taken = self.commit()
                await self.steering.resolve(taken, [one.message_id for one in taken])
            case "store and crash" if self.lease is not None:
                self.commit()
                await self.crash(self.lease)
            case "crash" if self.lease is not None:
                await self.crash(self.lease)
            case "end" if self.lease is not None:
                await self.storage.leases.settle(self.lease, DONE)
                self.fresh, self.lease = [], None
            case "withdraw":
                await self.withdraw()
            case "scan":
                await self.scan()
            case _:
                return

    async def send(self) -> None:
        text = f"m-{len(self.sent)}"
        body = {"messages": [{"type": "human", "content": text}]}
        created = await self.storage.created(self.thread, input=body, multitask_strategy="steer")
        self.sent.append(text)
        if created.message is None:
            await self.begin(created.record.run_id, text)

    async def begin(self, run_id: RunId, text: str | None = None) -> None:
        lease = await self.storage.leases.claim(run_id, WorkerId("w"), TERM)
        assert lease is not None
        self.lease = await self.storage.leases.begin(lease, None)
        if text is not None:
            self.state.append(text)

    async def take(self, lease: Lease) -> None:
        self.steps += 1
        task = TakingTask(f"task-{self.steps}", "", f"c-{self.steps}", self.steps)
        taking = await self.steering.take(lease, task)
        if taking.unresolved:
            await self.steering.resolve(taking.unresolved, self.stored)
            taking = await self.steering.take(lease, task)
        for message in taking.messages:
            taken = TakenMessage(message.message_id, lease.run_id, lease.attempt, task)
            self.fresh.append((taken, str(message.messages[0]["content"])))

    def commit(self) -> list[TakenMessage]:
        taken = [one for one, _ in self.fresh]
        self.state += [text for _, text in self.fresh]
        self.stored |= {one.message_id for one in taken}
        self.fresh = []
        return taken

    async def crash(self, lease: Lease) -> None:
        self.fresh = []
        await self.storage.clock.advance(TERM)
        await self.storage.leases.recover(lease.run_id, 1_000)
        await self.begin(lease.run_id)

    async def withdraw(self) -> None:
        with acting(ALICE):
            for message in reversed(await self.steering.list(self.thread, only_open=True)):
                text = str(message.messages[0]["content"])
                try:
                    await self.steering.withdraw(self.thread, message.message_id)
                except MessageNotWaiting:
                    continue
                self.withdrawn.add(text)
                return

    async def scan(self) -> None:
        if self.lease is None:
            await self.steering.resolve(await self.steering.list_unresolved(self.thread), self.stored)
        moved = await self.steering.move(self.thread)
        if moved is not None:
            assert self.lease is None, "a message starts a run only on an idle thread"
            given = moved.run.spec.input
            await self.begin(moved.run.run_id, str(given["messages"][0]["content"]))

    async def finish(self) -> None:
        """Let everything go on until nothing waits."""
        while True:
            for action in ("take", "store", "end", "scan"):
                await self.do(action)
            if self.lease is None:
                return


def test_messages_are_neither_lost_nor_doubled_in_any_order(tmp_path: Path) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(st.sampled_from(ACTIONS), max_size=30))
    def check(actions: list[str]) -> None:
        runner.run(played(actions))

    async def played(actions: list[str]) -> None:
        storage = stores_over(database)
        assert isinstance(storage.create, SqlRunCreateStore)
        play = Play(storage, SqlSteeringStore(database, storage.clock, storage.create))
        for action in actions:
            await play.do(action)
        await play.finish()
        assert play.state == [text for text in play.sent if text not in play.withdrawn]

    with asyncio.Runner() as runner:
        opened = open_storage(current(tmp_path / "runs.sqlite"))
        database = runner.run(opened.__aenter__())
        check()
        runner.run(opened.__aexit__(None, None, None))
