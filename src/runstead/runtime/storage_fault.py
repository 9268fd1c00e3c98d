"""The storage cannot do its work now: what every adapter raises for that, and what may be told of it.

Adapters know more (which file, which server), and their texts say it to the operator. Clients are told what it
means for them and what helps; where things lie is not their business.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

FaultKind: TypeAlias = Literal["full", "read_only", "busy", "away", "closed", "keyless", "damaged", "broken"]

_TOLD: Final[dict[FaultKind, str]] = {
    "full": "The server's disk is full, and nothing of this was kept. Free some space on it, then send it again.",
    "read_only": "The server's storage is read-only, and nothing of this was kept. Whoever runs the server has to give "
    "it the right to write; then send it again.",
    "busy": "The server's storage is locked by something else. Send it again in a moment.",
    "away": "The server cannot reach its storage, so it cannot tell whether this was kept. Send it again in a moment.",
    "closed": "The server is about to stop. Send it again in a moment.",
    "keyless": "The server lacks the key that some of its data is encrypted with. The server's log names the key.",
    "damaged": "What the server's storage has of this cannot be read. The server's log says what to do.",
    "broken": "The server's storage cannot be read or written. The server's log says what to do.",
}


class StorageFault(Exception):
    """Root of what adapters raise when the storage as a whole is the trouble; ``kind`` says which one it is."""

    kind: FaultKind = "broken"

    @property
    def passes(self) -> bool:
        """It is nobody's doing and passes by itself: what was being done is worth doing again."""
        return self.kind in ("busy", "away", "closed")

    @property
    def told(self) -> str:
        """The sentence for clients."""
        return _TOLD[self.kind]
