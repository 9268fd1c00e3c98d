"""API keys, with which programs act for a user. The key itself is returned once, on creation, and never stored."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

PREFIX: Final = "rsk_"
"""Prefix by which people, and scanners for leaked secrets, recognize a key."""


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """API key as stored. ``digest`` is the stored form of the key itself."""

    key_id: str
    name: str
    digest: str
    user_id: str
    tenant_id: str
    scopes: tuple[str, ...]
    created_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    expires_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Return whether the key is accepted at this time: neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def new_key() -> str:
    """Return a new key with 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(key: str) -> str:
    """Return the digest that is stored instead of the key.

    One round of SHA-256 without salt: slow, salted hashes protect secrets that people choose and attackers can
    enumerate. 256 random bits are unique and cannot be enumerated, and this digest is computed on every request.
    """
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class ApiKeyStore(Protocol):
    """Store of API keys. Unscoped: it is read before the actor is known, and by the operator."""

    async def add(self, key: ApiKeyRecord) -> None: ...

    async def find(self, digest: str) -> ApiKeyRecord | None:
        """Return the key with this digest, also if it is revoked."""
        ...

    async def get(self, key_id: str) -> ApiKeyRecord | None:
        """Return the key with this id, also if it is revoked."""
        ...

    async def list_keys(self) -> Sequence[ApiKeyRecord]:
        """Return all keys, also revoked ones, oldest first."""
        ...

    async def revoke(self, key_id: str, at: datetime) -> bool:
        """Revoke a key from now on. A second call keeps the first time; returns False if there is no such key."""
        ...

    async def used(self, key_id: str, at: datetime) -> None:
        """Record that the key was used."""
        ...
