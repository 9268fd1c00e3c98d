"""Limits per user and tenant: exact under concurrency, and over several gateways with one Redis."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from runstead.infra.engines.redis import open_redis
from runstead.infra.limits.requests import WindowRequestLimiter, memory_storage, redis_storage
from runstead.infra.limits.streams import LocalStreamLimiter, RedisStreamLimiter
from runstead.infra.storage.database import Database
from runstead.infra.storage.run_create import SqlRunCreateStore
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.clock import SystemClock
from runstead.runtime.limits import Limit, LimitExceeded, RequestLimiter, RunQuota, StreamLimiter
from runstead.testing.conformance.run_storage import a_spec, decide

ALICE, BOB, OTHER_ALICE = (
    ActorContext("alice", "acme"),
    ActorContext("bob", "acme"),
    ActorContext("alice", "umbrella"),
)


async def test_runs_of_a_user_and_of_a_tenant_are_limited_exactly(database: Database) -> None:
    quota = RunQuota((Limit("user", 3), Limit("tenant", 5)))
    gateways = [SqlRunCreateStore(database, SystemClock(), lambda: None, quota=quota) for _ in range(2)]

    async def create(number: int, actor: ActorContext) -> bool:
        with acting(actor):
            try:
                await gateways[number % 2].create_runs([a_spec(None)], decide)
            except LimitExceeded:
                return False
            return True

    async def accepted(actor: ActorContext) -> int:
        return sum(await asyncio.gather(*(create(number, actor) for number in range(8))))

    assert await accepted(ALICE) == 3
    assert await accepted(BOB) == 2
    assert await accepted(OTHER_ALICE) == 3


async def test_queued_runs_are_limited(database: Database) -> None:
    store = SqlRunCreateStore(database, SystemClock(), lambda: None, quota=RunQuota((), (Limit("user", 2),)))
    with acting(ALICE):
        with pytest.raises(LimitExceeded, match="queued runs"):
            await store.create_runs([a_spec(None) for _ in range(3)], decide)
        # The whole batch was refused.
        await store.create_runs([a_spec(None) for _ in range(2)], decide)


async def test_requests_are_limited_in_memory_and_over_gateways(redis_url: str) -> None:
    limits = [Limit("user", 4, 60), Limit("tenant", 6, 60)]
    prefix = f"t{uuid.uuid4().hex}"
    alone = [WindowRequestLimiter(limits, memory_storage())]
    together = [WindowRequestLimiter(limits, redis_storage(redis_url, prefix)) for _ in range(2)]
    for gateways in (alone, together):
        assert await requests_accepted(gateways, ALICE) == 4
        assert await requests_accepted(gateways, BOB) == 2
        assert await requests_accepted(gateways, OTHER_ALICE) == 4


async def requests_accepted(gateways: Sequence[RequestLimiter], actor: ActorContext) -> int:
    accepted = 0
    for number in range(10):
        try:
            await gateways[number % len(gateways)].take(actor)
            accepted += 1
        except LimitExceeded as error:
            accepted += 0 if 0 < error.retry_after <= 61 else 100
    return accepted


async def test_requests_are_accepted_while_redis_is_away() -> None:
    limiter = WindowRequestLimiter([Limit("user", 1, 60)], redis_storage("redis://127.0.0.1:1", "p"))
    assert await requests_accepted([limiter], ALICE) == 10


async def test_open_streams_are_limited_in_memory_and_over_gateways(redis_url: str) -> None:
    limits = [Limit("user", 2), Limit("tenant", 3)]
    async with open_redis(redis_url) as redis:
        prefix = f"t{uuid.uuid4().hex}"
        for gateways in (
            [LocalStreamLimiter(limits)],
            [RedisStreamLimiter(limits, redis, prefix) for _ in range(2)],
        ):
            async with AsyncExitStack() as opened:
                assert await streams_accepted(gateways, ALICE, opened) == 2
                assert await streams_accepted(gateways, BOB, opened) == 1
                assert await streams_accepted(gateways, OTHER_ALICE, opened) == 2
            # All that have ended are free again.
            async with AsyncExitStack() as opened:
                assert await streams_accepted(gateways, ALICE, opened) == 2


async def streams_accepted(gateways: Sequence[StreamLimiter], actor: ActorContext, opened: AsyncExitStack) -> int:
    accepted = 0
    for number in range(4):
        try:
            await opened.enter_async_context(gateways[number % len(gateways)].open(actor))
            accepted += 1
        except LimitExceeded:
            continue
    return accepted
