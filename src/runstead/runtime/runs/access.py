"""Whether the user of a run still has the right to it, asked when it begins and while it is executed."""

from __future__ import annotations

from typing import Protocol

from .types import RunRecord


class RunAccess(Protocol):
    """Knows who has lost access. Failures to find out decide nothing, and are not raised."""

    async def is_revoked(self, run: RunRecord, *, begins: bool) -> bool:
        """Return whether the run must not be executed, any more. ``begins``: it has not begun yet, or begins again."""
        ...


class EveryAccess:
    """Nobody loses access."""

    async def is_revoked(self, run: RunRecord, *, begins: bool) -> bool:
        return False
