"""API keys: what a program shows to act for a user. The key itself is told once, when it is made, and kept nowhere."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

PREFIX: Final = "rsk_"
"""So that a key is seen to be one, by people and by programs that look for leaked secrets."""


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """A key as stored. ``digest`` is what is kept of the key itself."""

    key_id: str
    name: str
    digest: str
    user_id: str
    tenant_id: str
    scopes: tuple[str, ...]
    created_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


def new_key() -> str:
    """A key that nobody can guess: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(key: str) -> str:
    """What is stored instead of the key.

    One round of SHA-256, without salt: slow, salted hashes protect secrets that people choose and that can be tried
    one after the other. Of 256 random bits no two are the same and none can be tried out, and this one is computed on
    every request.
    """
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class ApiKeyStore(Protocol):
    """Keeps keys. Unscoped: it is asked before it is known who is acting, and by the operator."""

    async def add(self, key: ApiKeyRecord) -> None: ...

    async def find(self, digest: str) -> ApiKeyRecord | None:
        """The key with this digest, also a revoked one."""
        ...

    async def get(self, key_id: str) -> ApiKeyRecord | None:
        """Return the key with this id, also a revoked one."""
        ...

    async def list_keys(self) -> Sequence[ApiKeyRecord]:
        """All keys, revoked ones too, the oldest first."""
        ...

    async def revoke(self, key_id: str, at: datetime) -> bool:
        """From now on the key opens nothing. Revoking twice keeps the first time; False when there is no such key."""
        ...

    async def used(self, key_id: str, at: datetime) -> None:
        """Remember that the key was used."""
        ...
