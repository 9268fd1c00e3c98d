from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from runstead.cli.servers.valkey import ValkeyServer
from runstead.infra.engines.redis import RedisConnections, RedisScript, open_redis, place_of
from runstead.infra.engines.redis_checks import check_redis
from runstead.infra.engines.redis_errors import RedisFull, RedisRefused, RedisUnavailable
from runstead.resources.storage_errors import StorageError, StorageUnusable
from tests.servers.tls import make_certificate, tls_in_front_of
from tests.servers.valkey import own_valkey

PASSWORD = "s3cret"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A server with a password, and little memory."""
    folder = tmp_path_factory.mktemp("valkey")
    with own_valkey(folder, password=PASSWORD, maxmemory="8mb", maxmemory_policy="noeviction") as server:
        yield server


async def test_password_in_the_url_authenticates(locked: ValkeyServer) -> None:
    async with open_redis(locked.url) as connections:
        assert await connections.ask("PING") == b"PONG"


async def test_wrong_password_error_names_a_remedy_without_the_password(locked: ValkeyServer) -> None:
    with pytest.raises(RedisRefused, match="check the user and the password") as refused:
        async with open_redis(locked.url.replace(PASSWORD, "guessed")):
            pass
    assert "guessed" not in str(refused.value)
    assert PASSWORD not in place_of(locked.url)


async def test_tls_works_and_an_unknown_certificate_is_refused(locked: ValkeyServer, tmp_path: Path) -> None:
    key, certificate = make_certificate(tmp_path)
    async with tls_in_front_of(locked.port, key, certificate) as port:
        url = f"rediss://:{PASSWORD}@127.0.0.1:{port}/0"
        async with open_redis(f"{url}?ssl_ca_certs={certificate}") as connections:
            assert await connections.ask("PING") == b"PONG"
        with pytest.raises(RedisUnavailable, match=r"(?i)certificate"):
            async with open_redis(url):
                pass


async def test_unreachable_server_fails_immediately() -> None:
    with pytest.raises(RedisUnavailable, match=r"redis://127\.0\.0\.1:1 cannot be reached .* check that it runs"):
        async with open_redis("redis://user:hidden@127.0.0.1:1"):
            pass


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1", "redis://127.0.0.1:port", "redis://127.0.0.1?no_such_option=1", "127.0.0.1:6379", ""]
)
async def test_invalid_url_is_unusable(url: str) -> None:
    with pytest.raises(StorageUnusable, match="URL"):
        async with open_redis(url):
            pass


async def test_script_is_loaded_once_and_called_by_digest(locked: ValkeyServer) -> None:
    script = RedisScript("return {KEYS[1], ARGV[1]}")
    async with open_redis(locked.url) as connections:
        for _ in range(2):
            assert await connections.run(script, ["key"], ["word"]) == [b"key", b"word"]
        assert await connections.ask("SCRIPT", "EXISTS", script.sha) == [1]


async def test_pipeline_returns_a_reply_or_an_error_for_each_command(locked: ValkeyServer) -> None:
    async with open_redis(locked.url) as connections:
        line = await connections.line()
        first, wrong, last = await line.ask([("SET", "text", "x"), ("LPUSH", "text", "y"), ("GET", "text")])
        assert (first, last) == (b"OK", b"x")
        assert isinstance(wrong, ResponseError)
        await line.close()


async def test_missing_reply_times_out(locked: ValkeyServer) -> None:
    async with open_redis(locked.url, timeout=0.2) as connections:
        locked.freeze()
        try:
            async with asyncio.timeout(60):
                with pytest.raises(RedisUnavailable):
                    await connections.ask("PING")
        finally:
            locked.thaw()
        assert await connections.ask("PING") == b"PONG"


async def test_full_server_raises_and_is_reported_by_the_check(locked: ValkeyServer) -> None:
    async with open_redis(locked.url) as connections:
        assert {found.subject: found.state for found in await check_redis(locked.url)}["redis memory"] == "ok"
        try:
            with pytest.raises(RedisFull, match="raise its maxmemory"):
                await fill(connections)
            [memory] = [found for found in await check_redis(locked.url) if found.subject == "redis memory"]
            assert memory.state in ("failed", "warning")
            assert "MB are used" in memory.detail
        finally:
            await connections.ask("FLUSHALL")


async def fill(connections: RedisConnections) -> None:
    for number in range(200):
        await connections.ask("SET", f"filling-{number}", b"x" * 100_000)


async def test_check_warns_about_settings_that_lose_streams(tmp_path: Path) -> None:
    with own_valkey(tmp_path, maxmemory_policy="allkeys-lru", appendonly="no") as server:
        found = {finding.subject: finding for finding in await check_redis(server.url)}
    assert found["redis"].state == found["redis role"].state == "ok"
    assert [found[f"redis {name}"].state for name in ("memory", "policy", "persistence")] == ["warning"] * 3
    assert all(found[f"redis {name}"].remedy for name in ("memory", "policy", "persistence"))
    # Snapshots may restore some of them.
    assert "may be lost" in found["redis persistence"].detail


async def test_unreachable_server_is_one_finding() -> None:
    [found] = await check_redis("redis://127.0.0.1:1")
    assert (found.state, "cannot be reached" in found.detail) == ("failed", True)


def test_every_error_of_the_engine_is_a_storage_error() -> None:
    assert issubclass(RedisFull, StorageError)
    assert issubclass(RedisRefused, StorageError)
    assert issubclass(RedisUnavailable, StorageError)
