"""A cache in Redis or Valkey, for all processes of a deployment."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import Final

from runstead.infra.encryption.cipher import CannotDecrypt, Cipher
from runstead.infra.encryption.keyless import NO_KEYS
from runstead.infra.engines.redis import RedisConnections

_PURPOSE: Final = "cache"


class RedisCache:
    """See `Cache`. ``prefix`` begins the names of its keys: several deployments may share a server.

    With ``cipher``, values are encrypted, and names are hashes of keys.
    """

    def __init__(self, connections: RedisConnections, prefix: str, cipher: Cipher | None = None) -> None:
        self._connections, self._prefix, self._cipher = connections, prefix, cipher

    async def get(self, key: str) -> bytes | None:
        value: bytes | None = await self._connections.ask("GET", self._name(key))
        cipher = self._cipher or NO_KEYS
        if value is None or cipher.key_id_of(value) is None:
            return value
        try:
            return cipher.decrypt(value, _PURPOSE)
        except CannotDecrypt:
            # Of a key that is not configured (any more): as if it had never been cached.
            return None

    async def set(self, key: str, value: bytes, ttl: timedelta) -> None:
        milliseconds = max(1, round(ttl.total_seconds() * 1000))
        stored = value if self._cipher is None else self._cipher.encrypt(value, _PURPOSE)
        await self._connections.ask("SET", self._name(key), stored, "PX", milliseconds)

    def _name(self, key: str) -> bytes:
        # JSON may hold half of a surrogate pair, and so may keys made of it.
        name = key.encode(errors="surrogatepass")
        if self._cipher is not None:
            name = sha256(name).hexdigest().encode()
        return f"{self._prefix}:cache:".encode() + name
