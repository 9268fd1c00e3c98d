"""A cache in Redis or Valkey, for all processes of a deployment."""

from __future__ import annotations

from datetime import timedelta

from runstead.infra.engines.redis import RedisConnections


class RedisCache:
    """See `Cache`. ``prefix`` begins the names of its keys: several deployments may share a server."""

    def __init__(self, connections: RedisConnections, prefix: str) -> None:
        self._connections, self._prefix = connections, prefix

    async def get(self, key: str) -> bytes | None:
        value: bytes | None = await self._connections.ask("GET", self._name(key))
        return value

    async def set(self, key: str, value: bytes, ttl: timedelta) -> None:
        milliseconds = max(1, round(ttl.total_seconds() * 1000))
        await self._connections.ask("SET", self._name(key), value, "PX", milliseconds)

    def _name(self, key: str) -> bytes:
        # JSON may hold half of a surrogate pair, and so may keys made of it.
        return f"{self._prefix}:cache:{key}".encode(errors="surrogatepass")
