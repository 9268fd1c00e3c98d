"""Port that checks a user's access to a run, when it begins and during execution."""

from __future__ import annotations

from typing import Protocol

from .types import RunRecord


class RunAccess(Protocol):
    """Check for lost access. If the check itself fails, access is kept, and no error is raised."""

    async def is_revoked(self, run: RunRecord, *, begins: bool) -> bool:
        """Return whether the run must not be executed, or not any longer. ``begins`` is True at the start of each
        attempt."""
        ...


class UnrestrictedAccess:
    """Access check under which no user loses access."""

    async def is_revoked(self, run: RunRecord, *, begins: bool) -> bool:
        return False
