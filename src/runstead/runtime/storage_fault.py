"""Errors for storage that cannot work at present, raised by all adapters, and their public texts.

Adapters know details (which file, which server), and put them in the error's text for the operator. Clients get only
the consequence and the remedy, without locations.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

FaultKind: TypeAlias = Literal["full", "read_only", "busy", "away", "closed", "keyless", "damaged", "broken"]

_MESSAGES: Final[dict[FaultKind, str]] = {
    "full": "The server's disk is full, and nothing of this was kept. Free some space on it, then send it again.",
    "read_only": "The server's storage is read-only, and nothing of this was kept. The operator must give the server "
    "write permission; then send it again.",
    "busy": "The server's storage is locked by something else. Send it again in a moment.",
    "away": "The server cannot reach its storage, so it cannot tell whether this was kept. Send it again in a moment.",
    "closed": "The server is about to stop. Send it again in a moment.",
    "keyless": "The server lacks the key that some of its data is encrypted with. The server's log names the key.",
    "damaged": "What the server's storage has of this cannot be read. The server's log says what to do.",
    "broken": "The server's storage cannot be read or written. The server's log says what to do.",
}


class StorageFault(Exception):
    """Base class of errors that concern the storage as a whole; ``kind`` says which fault it is."""

    kind: FaultKind = "broken"

    @property
    def is_transient(self) -> bool:
        """True for a transient fault: retrying the operation is worthwhile."""
        return self.kind in ("busy", "away", "closed")

    @property
    def public_message(self) -> str:
        """Public text for clients."""
        return _MESSAGES[self.kind]
