"""Encrypted streams and event files keep every guarantee of plain ones, and no event data is readable in them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from runstead.infra.cache.redis import RedisCache
from runstead.infra.encryption.cipher import CannotDecrypt
from runstead.infra.encryption.keyring import Keyring
from runstead.infra.engines.redis import open_redis
from runstead.infra.run_events.jsonl import JsonlRunEventStore
from runstead.infra.run_events.rewriting import event_file_keys, rewrite_event_files
from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge, MemoryStreamSettings
from runstead.infra.stream_bridge.memory.spilling import SpillSettings
from runstead.infra.stream_bridge.memory.spool import Spool
from runstead.infra.stream_bridge.redis.bridge import RedisStreamBridge, RedisStreamSettings
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.types import ThreadId
from runstead.runtime.stream_bridge.contract import StreamEvent, StreamSubscription
from runstead.runtime.stream_bridge.exceptions import StreamNotFound
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.event_store import ALICE, THREAD, RunEventStoreConformance, an_event
from tests.infra.stream_suites import MemoryStreamSuite, RedisCacheSuite, RedisStreamSuite
from tests.servers.redis_streams import a_prefix, everything_in

OLD, NEW = b"o" * 32, b"n" * 32
SECRET = b'{"said":"canary-in-a-stream"}'


class TestEncryptedRedisStreams(RedisStreamSuite):
    cipher = Keyring([NEW])


class TestEncryptedFiles(MemoryStreamSuite):
    """Each event is written to a file immediately."""

    memory_bytes, cipher = 1, Keyring([NEW])


async def said(bridge: RedisStreamBridge | MemoryStreamBridge, run_id: str) -> list[bytes]:
    """The data of all events of an ended stream."""
    subscription = await bridge.subscribe(run_id)
    found: list[bytes] = []
    while items := await subscription.read():
        found += [item.data for item in items if isinstance(item, StreamEvent)]
    return found


async def to_its_end(subscription: StreamSubscription) -> AsyncIterator[None]:
    """Iterate until the stream ends, or raise the reader's error."""
    while await subscription.read():
        pass
    yield


async def publish(bridge: RedisStreamBridge | MemoryStreamBridge, run_id: str = "r-1") -> None:
    await bridge.open(run_id)
    for _ in range(3):
        await bridge.publish(run_id, "values", SECRET)
    await bridge.publish_terminal(run_id, "error", SECRET)


async def test_redis_contains_no_unencrypted_frame(redis_url: str) -> None:
    prefix = a_prefix()
    async with (
        open_redis(redis_url) as connections,
        RedisStreamBridge.running(connections, RedisStreamSettings(prefix=prefix), cipher=Keyring([NEW])) as bridge,
    ):
        await publish(bridge)
        assert await said(bridge, "r-1") == [SECRET] * 4
        stored = await everything_in(connections, prefix)
    assert b"r-1" in stored
    assert SECRET not in stored
    assert b"canary" not in stored


async def test_frames_of_an_old_key_are_read_and_of_a_missing_key_end_the_stream(redis_url: str) -> None:
    settings = RedisStreamSettings(prefix=a_prefix())
    async with open_redis(redis_url) as connections:
        async with RedisStreamBridge.running(connections, settings, cipher=Keyring([OLD])) as before:
            await publish(before)
        async with RedisStreamBridge.running(connections, settings, cipher=Keyring([NEW, OLD])) as rotated:
            assert await said(rotated, "r-1") == [SECRET] * 4
            await publish(rotated, "r-2")
        async with RedisStreamBridge.running(connections, settings, cipher=Keyring([NEW])) as after:
            assert await said(after, "r-2") == [SECRET] * 4
            with pytest.raises(StreamNotFound):
                await said(after, "r-1")


async def test_undecryptable_live_stream_does_not_delay_another(redis_url: str) -> None:
    settings = RedisStreamSettings(prefix=a_prefix())
    async with (
        open_redis(redis_url) as connections,
        RedisStreamBridge.running(connections, settings, cipher=Keyring([OLD])) as old,
        RedisStreamBridge.running(connections, settings, cipher=Keyring([NEW])) as new,
    ):
        await old.open("r-1")
        await new.open("r-2")
        lost, live = await new.subscribe("r-1"), await new.subscribe("r-2")
        await old.publish("r-1", "values", SECRET)
        with pytest.raises(StreamNotFound):
            await anext(to_its_end(lost))
        await new.publish("r-2", "values", SECRET)
        [event] = await live.read()
        assert isinstance(event, StreamEvent)
        assert event.data == SECRET


async def test_spool_files_contain_no_unencrypted_event(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "streams", cipher=Keyring([NEW]))
    async with MemoryStreamBridge.running(
        MemoryStreamSettings(), ManualClock(), SpillSettings(memory_bytes=1, spool=spool)
    ) as bridge:
        await publish(bridge)
        assert await said(bridge, "r-1") == [SECRET] * 4
        files = b"".join(path.read_bytes() for path in (tmp_path / "streams").iterdir())
    assert files
    assert b"canary" not in files


class TestEncryptedEventFiles(RunEventStoreConformance):
    @pytest.fixture
    async def events(self, tmp_path: Path) -> AsyncIterator[JsonlRunEventStore]:
        async with JsonlRunEventStore.open(tmp_path, cipher=Keyring([NEW])) as store:
            yield store


async def contents(root: Path, *keys: bytes) -> list[object]:
    async with JsonlRunEventStore.open(root, cipher=Keyring(keys) if keys else None) as store:
        with acting(ALICE):
            return [stored.event.content for stored in await store.list_events(ThreadId(THREAD))]


async def append(root: Path, content: str, *keys: bytes) -> None:
    async with JsonlRunEventStore.open(root, cipher=Keyring(keys) if keys else None) as store:
        with acting(ALICE):
            await store.append([an_event(content=content, metadata={"note": content})])


def files_of(root: Path) -> list[tuple[int, bytes]]:
    return [(path.stat().st_mode & 0o777, path.read_bytes()) for path in root.rglob("events.jsonl")]


async def test_event_files_are_rewritten_with_the_first_key(tmp_path: Path) -> None:
    await append(tmp_path, "canary plain")
    await append(tmp_path, "canary old", OLD)
    await append(tmp_path, "canary new", NEW, OLD)
    both = Keyring([NEW, OLD])
    assert sorted(event_file_keys(tmp_path, both)) == sorted(["", Keyring([OLD]).key_id, both.key_id])
    with pytest.raises(CannotDecrypt):
        await contents(tmp_path, NEW)
    assert rewrite_event_files(tmp_path, both) == 2
    assert rewrite_event_files(tmp_path, both) == 0
    assert await contents(tmp_path, NEW) == ["canary plain", "canary old", "canary new"]
    [(mode, text)] = files_of(tmp_path)
    assert b"canary" not in text
    assert mode == 0o600


class TestEncryptedCache(RedisCacheSuite):
    cipher = Keyring([NEW])


async def test_cache_encrypts_keys_and_values_and_drops_those_of_a_missing_key(redis_url: str) -> None:
    prefix = a_prefix()
    async with open_redis(redis_url) as connections:
        cache = RedisCache(connections, prefix, Keyring([OLD]))
        await cache.set("canary key", SECRET, timedelta(seconds=60))
        assert b"canary" not in await everything_in(connections, prefix)
        assert await RedisCache(connections, prefix, Keyring([NEW, OLD])).get("canary key") == SECRET
        assert await RedisCache(connections, prefix, Keyring([NEW])).get("canary key") is None
