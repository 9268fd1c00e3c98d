"""Every ended run gets its terminal event, wherever Redis fails meanwhile, how often, and with or without its data.

The run is published by one process, opened by a reader in another, and reconciled by a third. Each command of theirs is
made to fail in turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias, cast

import pytest

from runstead.infra.engines.redis import Command, RedisConnections, RedisLine, RedisScript, Word, open_redis
from runstead.infra.engines.redis_errors import RedisUnavailable
from runstead.infra.stream_bridge.redis.bridge import RedisStreamBridge, RedisStreamSettings
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.internal.recovery.orphaned_streams import OrphanedStreamReconciler
from runstead.runtime.runs.internal.streaming.stream_service import RunStreamService
from runstead.runtime.runs.runtime import RunLimits
from runstead.runtime.runs.types import RunRecord
from runstead.runtime.stream_bridge.exceptions import StreamBridgeError
from tests.faults.kernel import ALICE, Storage, a_spec
from tests.servers.valkey import own_valkey

RUN = "r1"
LIMITS = RunLimits(lease_term=timedelta(seconds=1))
_TIMES: Final = 2
"""Failures in a row."""
_SCANS: Final = 600
_UNFAILED_SCANS: Final = 20
"""Scans after which the number of the first failing command is higher than that of the last one."""
How: TypeAlias = Literal["request lost", "reply lost", "data lost"]


@dataclass(slots=True)
class Faults:
    """Failures of one server: those of ``times`` commands from number ``first`` on, counted over all processes.

    With ``data lost``, each of them restarts the server without its data, which breaks all connections.
    """

    server: RedisConnections
    first: int
    times: int
    how: How
    asked: int = 0
    lives: int = 0
    dead: set[str] = field(default_factory=set)
    """Processes that were killed."""

    @property
    def is_over(self) -> bool:
        return self.asked >= self.first + self.times

    async def around(self, process: str, life: int, asking: Any) -> Any:
        """Await a command of a process over a connection of a life of the server, or fail as planned."""
        number, self.asked = self.asked, self.asked + 1
        hit = self.first <= number < self.first + self.times
        if hit and self.how == "data lost":
            try:
                await self.server.ask("FLUSHALL")
            except BaseException:
                # Cancelled, at the end of its process: the command is not sent.
                asking.close()
                raise
            self.lives += 1
        if process in self.dead or life < self.lives or (hit and self.how == "request lost"):
            asking.close()
            raise RedisUnavailable("fake", "away")
        answer = await asking
        if hit:
            raise RedisUnavailable("fake", "the reply was lost")
        return answer


@dataclass(slots=True)
class FaultyLine:
    line: RedisLine
    faults: Faults
    process: str
    life: int

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        answers: list[Any] = await self.faults.around(self.process, self.life, self.line.ask(commands))
        return answers

    async def close(self) -> None:
        await self.line.close()


@dataclass(slots=True)
class FaultyConnections:
    """The connections of one process."""

    inner: RedisConnections
    faults: Faults
    process: str
    place: str = "fake"
    is_cluster: bool = False

    async def ask(self, *command: Word) -> Any:
        return await self.faults.around(self.process, self.faults.lives, self.inner.ask(*command))

    async def run(self, script: RedisScript, keys: Sequence[Word], words: Iterable[Word] = ()) -> Any:
        return await self.faults.around(self.process, self.faults.lives, self.inner.run(script, keys, words))

    async def line(self, *, blocking: float = 0) -> FaultyLine:
        line = await self.faults.around(self.process, self.faults.lives, self.inner.line(blocking=blocking))
        return FaultyLine(line, self.faults, self.process, self.faults.lives)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with own_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server.url


@asynccontextmanager
async def bridges(faults: Faults) -> AsyncIterator[list[RedisStreamBridge]]:
    """Those of a worker, of a gateway, and of another worker."""
    settings = RedisStreamSettings(patience=0.05)
    async with AsyncExitStack() as stack:
        opened = []
        for process in ("worker", "gateway", "reconciler"):
            connections = cast(RedisConnections, FaultyConnections(faults.server, faults, process))
            opened.append(await stack.enter_async_context(RedisStreamBridge.running(connections, settings)))
        yield opened


async def ended_run() -> Storage:
    """A storage with a run that ended long ago."""
    storage = Storage()
    async with storage.worker() as runs:
        with acting(ALICE):
            await runs.create_background(a_spec(RUN))
            await storage.clock.advance(1)
    await storage.clock.advance(60)
    assert storage.status(RUN) == "success"
    return storage


async def values(record: RunRecord) -> bytes | None:
    return b"{}"


async def happen(faults: Faults, *, is_killed: bool) -> str:
    """Publish, join and reconcile a run; return what is wrong with its stream at last, empty if nothing is.

    ``is_killed``: the worker is killed before it publishes the end. The reader has read the run's record before that.
    """
    storage = await ended_run()
    wrong = ""
    async with bridges(faults) as (worker, gateway, reconciler):
        for step in (gateway.open(RUN), worker.open(RUN), worker.publish(RUN, "values", b"{}"), worker.status(RUN)):
            await _tried(step)
        if is_killed:
            faults.dead.add("worker")
        await _tried(worker.publish_terminal(RUN, "end", b"{}"))
        await _tried(gateway.open(RUN))
        runtime = storage.runtime(bridge=reconciler, limits=LIMITS)
        reconciling = OrphanedStreamReconciler(runtime, RunStreamService(runtime, values))
        # Without a failure left, the end is published at some time; the bound is against hanging only.
        for scan in range(_SCANS):
            await reconciling.reconcile()
            wrong = await _wrong(faults.server)
            if not wrong or (scan >= _UNFAILED_SCANS and not faults.is_over):
                break
            await asyncio.sleep(0.05)
    return wrong


async def _tried(step: Any) -> None:
    # The stream may be unreachable, or gone.
    with suppress(StreamBridgeError):
        await step


async def _wrong(server: RedisConnections) -> str:
    keys = [key for key in await server.ask("KEYS", "*") if b":meta:" in key]
    logs = [key for key in await server.ask("KEYS", "*") if b":log:" in key]
    for key in keys:
        if not await server.ask("HGET", key, "terminal"):
            return f"{key!r} has no end: {await server.ask('HGETALL', key)}, open: {await server.ask('KEYS', '*live')}"
    for key in logs:
        entries = await server.ask("XRANGE", key, "-", "+")
        ends = [b"t" in entry[1] for entry in entries]
        if sum(ends) != 1 or not ends[-1]:
            return f"{key!r}: {entries}"
    return ""


@pytest.mark.parametrize("how", ["request lost", "reply lost", "data lost"])
@pytest.mark.parametrize("is_killed", [False, True])
async def test_terminal_event_is_published_wherever_redis_fails(url: str, is_killed: bool, how: How) -> None:
    wrong: dict[int, str] = {}
    async with open_redis(url) as server:
        for first in range(1_000):
            await server.ask("FLUSHALL")
            faults = Faults(server, first, _TIMES, how)
            if said := await happen(faults, is_killed=is_killed):
                wrong[first] = said
            if not faults.is_over:
                break
    assert first > 5
    assert wrong == {}
