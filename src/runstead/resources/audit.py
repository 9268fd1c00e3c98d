"""The audit log: who did what to which object, from where, and with what result. A chain of digests shows changes.

Entries are only added. Each one holds the digest of the one before it, so a changed, removed or inserted entry breaks
the chain from there on. Values of requests are not stored, except human decisions at interrupts, redacted and cut.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from runstead.runtime.json_types import JsonMapping, JsonObject

FIRST_DIGEST: Final = "0" * 64
"""Digest that the first entry of a log names as the one before it."""
REDACTED: Final = "[redacted]"
_SECRET: Final = re.compile(
    r"pass(word|wd|phrase)?\b|secret|token|api[_-]?key|authorization|cookie|credential|private[_-]?key|session", re.I
)
_SECRET_VALUE: Final = re.compile(
    r"rsk_[\w-]{8,}|sk-[\w-]{8,}|eyJ[\w-]+\.[\w-]+\.[\w-]*|(?i:bearer|basic)\s+\S{8,}|-----BEGIN [A-Z ]+-----"
)
_LONGEST_TEXT: Final = 200
_MOST_ENTRIES: Final = 20
_DEEPEST: Final = 4


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act. ``action`` is such as ``threads.delete``; ``target`` holds ids by name; ``role`` is the role without
    which the actor had no access, ``client`` the address of the peer. Times are in UTC.
    """

    at: datetime
    tenant_id: str
    user_id: str
    action: str
    route: str
    status: int
    subject_id: str | None = None
    auth_source: str | None = None
    role: str | None = None
    client: str | None = None
    target: JsonMapping = field(default_factory=dict)
    details: JsonMapping = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        return {
            "at": self.at.astimezone(UTC).isoformat(timespec="microseconds"),
            "tenant_id": self.tenant_id,
            "user_id": self.user_id,
            "subject_id": self.subject_id,
            "auth_source": self.auth_source,
            "role": self.role,
            "client": self.client,
            "action": self.action,
            "route": self.route,
            "status": self.status,
            "target": dict(self.target),
            "details": dict(self.details),
        }


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An entry as stored. ``seq`` counts from 1 without gaps; ``previous`` is the digest of the entry before."""

    seq: int
    entry: AuditEntry
    previous: str
    digest: str

    def to_json(self) -> JsonObject:
        return {"seq": self.seq, **self.entry.to_json(), "previous": self.previous, "digest": self.digest}


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Conditions on entries; ANDed. ``tenant_id`` None: of all tenants. ``target_id`` is any id in the target."""

    tenant_id: str | None = None
    user_id: str | None = None
    action: str | None = None
    target_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before_seq: int | None = None


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """The result of checking a log: the number of entries that fit, and the ``seq`` of the first that does not."""

    entries: int
    broken_at: int | None = None
    last_digest: str = FIRST_DIGEST


class AuditStore(Protocol):
    """Keeps audit entries. Unscoped: who may read which tenant's entries is decided by the caller."""

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """Add the entries in this order, in one transaction; also when several processes do so at once."""
        ...

    async def search(self, where: AuditFilter, *, limit: int) -> Sequence[AuditRecord]:
        """Return matching entries, the newest first."""
        ...

    async def verify(self) -> ChainCheck:
        """Compute all digests again and compare them."""
        ...


def digest_of(seq: int, previous: str, entry: AuditEntry) -> str:
    """Return the digest of an entry at its place in the chain."""
    whole = json.dumps([seq, previous, entry.to_json()], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(whole.encode()).hexdigest()


def redacted(value: object, depth: int = 0) -> Any:
    """Return ``value`` as an audit entry may hold it: without what looks like a secret, and cut where it is long."""
    match value:
        case Mapping():
            if depth >= _DEEPEST:
                return "..."
            kept = list(value.items())[:_MOST_ENTRIES]
            return {
                str(name)[:_LONGEST_TEXT]: REDACTED if _SECRET.search(str(name)) else redacted(one, depth + 1)
                for name, one in kept
            }
        case str():
            text = _SECRET_VALUE.sub(REDACTED, value)
            return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."
        case list() | tuple():
            return "..." if depth >= _DEEPEST else [redacted(one, depth + 1) for one in value[:_MOST_ENTRIES]]
        case bool() | int() | None:
            return value
        case float():
            return value if value == value and abs(value) != float("inf") else str(value)
        case _:
            return type(value).__name__
