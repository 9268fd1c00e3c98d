"""Scaled profile, for a node of a cluster: data in PostgreSQL, streams in Redis, any worker executes any run."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from langgraph.checkpoint.serde.base import SerializerProtocol
from pydantic import SecretStr

from runstead.infra.cache.redis import RedisCache
from runstead.infra.checkpoints.postgres import PostgresCheckpoints
from runstead.infra.dispatch.fair_jobs import FairJobs
from runstead.infra.dispatch.procrastinate import ProcrastinateDispatcher, ProcrastinateSettings
from runstead.infra.dispatch.procrastinate_jobs import JobRouting, RunJobs
from runstead.infra.encryption.cipher import Cipher
from runstead.infra.encryption.keyless import NO_KEYS
from runstead.infra.engines.redis import open_redis
from runstead.infra.notices.redis import RedisNotices
from runstead.infra.notices.stops import StopNotices
from runstead.infra.notices.threads import RedisThreadNotices
from runstead.infra.storage.database_clock import DatabaseClock
from runstead.infra.storage.encryption_keys import check_encryption_keys
from runstead.infra.storage.items.pgvector import vectors_in
from runstead.infra.storage.key_holders import announced_keys
from runstead.infra.storage.postgres import open_postgres_storage
from runstead.infra.storage.run_events import SqlRunEventStore
from runstead.infra.stream_bridge.redis.bridge import RedisStreamBridge, RedisStreamSettings
from runstead.infra.stream_bridge.redis.settings import WINDOW_BYTES
from runstead.runtime.field_encryption import FieldCipher
from runstead.runtime.runs.store import RunLeaseStore
from runstead.settings import Settings

from .client_limits import shared_limits
from .postgres_options import postgres_options
from .profile import Profile, Queue


async def open_scaled(
    stack: AsyncExitStack,
    settings: Settings,
    serde: SerializerProtocol | None = None,
    cipher: Cipher | None = None,
    field_cipher: FieldCipher | None = None,
) -> Profile:
    """Open the profile until the end of ``stack``.

    ``serde`` serializes the values of checkpoints. ``cipher`` encrypts stored data; ``field_cipher`` encrypts
    checkpoints before that. Raises StorageError.
    """
    url, schema = _reveal(settings.database_url), settings.database_schema
    storage = open_postgres_storage(
        url, postgres_options(settings), migrating=settings.database_migrate_on_start, cipher=cipher or NO_KEYS
    )
    database = await stack.enter_async_context(storage)
    clock = await stack.enter_async_context(DatabaseClock.running(database))
    await stack.enter_async_context(announced_keys(database, clock, (cipher or NO_KEYS).key_ids))
    place = f"schema {schema} of {database.place}"
    await check_encryption_keys(database, cipher, place, has_handlers=field_cipher is not None)
    redis = await stack.enter_async_context(open_redis(_reveal(settings.redis_url)))
    bridge = await stack.enter_async_context(RedisStreamBridge.running(redis, redis_streams(settings), clock, cipher))
    notices = await stack.enter_async_context(RedisNotices.running(redis, schema))
    jobs = RunJobs(database, clock, JobRouting(settings.graph_queues, settings.graph_priorities))

    def dispatcher(_: RunLeaseStore, by_turns: bool) -> ProcrastinateDispatcher:
        chosen = ProcrastinateSettings(queues=settings.queues, schema=schema)
        fair = FairJobs(database, clock, settings.queues) if by_turns else None
        return ProcrastinateDispatcher(url, jobs, StopNotices(notices), clock, chosen, fair=fair)

    return Profile(
        database=database,
        checkpoints=PostgresCheckpoints(database, serde=serde, field_cipher=field_cipher),
        bridge=bridge,
        # Never files: each node would have its own.
        events=SqlRunEventStore(database),
        notices=stack.enter_context(RedisThreadNotices.heard_in(notices)),
        queue=Queue(dispatcher, enqueue=jobs.enqueue),
        cache=RedisCache(redis, schema, cipher),
        clock=clock,
        item_vectors=partial(vectors_in, database),
        is_shared=True,
        limits=shared_limits(settings, redis),
        pools={"postgres": database, "redis": redis},
    )


def redis_streams(settings: Settings) -> RedisStreamSettings:
    return RedisStreamSettings(
        window_events=settings.stream_window_events,
        window_bytes=settings.stream_window_bytes or WINDOW_BYTES,
        retention=settings.stream_retention_seconds,
        awaiting_retention=settings.stream_awaiting_input_seconds,
        prefix=settings.database_schema,
    )


def _reveal(secret: SecretStr | None) -> str:
    assert secret is not None, "only a cluster is opened here"
    return secret.get_secret_value()
