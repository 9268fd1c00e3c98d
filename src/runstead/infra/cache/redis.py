"""A cache in Redis or Valkey that all processes of a deployment share."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import Final

from runstead.infra.encryption.cipher import CannotDecrypt, Cipher
from runstead.infra.encryption.keyless import NO_KEYS
from runstead.infra.engines.redis import RedisConnections

_PURPOSE: Final = "cache"


class RedisCache:
    """A `Cache` in Redis. All key names begin with ``prefix``, so that several deployments can share a server.

    With ``cipher``, values are encrypted and key names are hashes.
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
            # Encrypted with a key that is not configured (any more): treat it as a cache miss.
            return None

    async def set(self, key: str, value: bytes, ttl: timedelta) -> None:
        milliseconds = max(1, round(ttl.total_seconds() * 1000))
        stored = value if self._cipher is None else self._cipher.encrypt(value, _PURPOSE)
        await self._connections.ask("SET", self._name(key), stored, "PX", milliseconds)

    def _name(self, key: str) -> bytes:
        # JSON, and therefore a key made from it, may contain an unpaired surrogate.
        name = key.encode(errors="surrogatepass")
        if self._cipher is not None:
            name = sha256(name).hexdigest().encode()
        return f"{self._prefix}:cache:".encode() + name
