"""The Redis stream bridge fulfils the port, on one server and on a cluster."""

from __future__ import annotations

import pytest

from tests.infra.stream_suites import RedisStreamSuite


class TestRedisStreamBridge(RedisStreamSuite):
    pass


class TestRedisClusterStreamBridge(RedisStreamSuite):
    """Every command with keys of two slots is refused there."""

    @pytest.fixture
    def url(self, redis_cluster_url: str) -> str:
        return redis_cluster_url
