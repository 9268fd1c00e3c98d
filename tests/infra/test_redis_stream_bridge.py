from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

import pytest

from runstead.cli.servers.ports import free_port
from runstead.infra.engines.redis import RedisConnections, open_redis
from runstead.infra.stream_bridge.redis.bridge import RedisStreamBridge, RedisStreamSettings
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.stream_bridge import StreamBridgeConformance
from tests.servers.redis_streams import a_prefix, let_pass
from tests.servers.valkey import own_valkey, valkey_url

UNOWNED = 1_200.0


class RedisStreamBridgeConformance(StreamBridgeConformance):
    """The suite on a server whose URL is ``url``."""

    @pytest.fixture
    async def bridge(self, url: str) -> AsyncIterator[RedisStreamBridge]:
        self._clock, self._prefix = ManualClock(), a_prefix()
        settings = RedisStreamSettings(
            window_events=self.window_events,
            window_bytes=self.window_bytes,
            retention=self.retention,
            awaiting_retention=self.awaiting_retention,
            unowned_retention=UNOWNED,
            max_streams=self.max_streams,
            prefix=self._prefix,
        )
        async with (
            open_redis(url) as connections,
            RedisStreamBridge.running(connections, settings, self._clock) as bridge,
        ):
            self._connections: RedisConnections = connections
            yield bridge

    async def let_pass(self, seconds: float) -> None:
        await let_pass(self._clock, self._connections, self._prefix, seconds, UNOWNED / 3)


@pytest.fixture(scope="module")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with valkey_url(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture(scope="module")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of one node: every command with keys of two slots is refused there."""
    bus = str(free_port())
    with own_valkey(tmp_path_factory.mktemp("cluster"), cluster_enabled="yes", cluster_port=bus) as server:
        server.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        while "cluster_state:ok" not in server.ask("CLUSTER", "INFO"):
            time.sleep(0.05)
        yield server.url


class TestRedisStreamBridge(RedisStreamBridgeConformance):
    @pytest.fixture
    def url(self, server_url: str) -> str:
        return server_url


class TestRedisClusterStreamBridge(RedisStreamBridgeConformance):
    @pytest.fixture
    def url(self, cluster_url: str) -> str:
        return cluster_url
