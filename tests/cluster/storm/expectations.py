"""Promises to the clients of a storm, and their permitted outcomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

STEPS: Final = 5
GONE: Final = "gone"
"""Outcome of a run that is rolled back: it leaves nothing."""


@dataclass(frozen=True, slots=True)
class Promise:
    """A run whose creation was acknowledged. ``ends``: its permitted outcomes."""

    name: str
    kind: str
    thread_id: str | None
    """None for a stateless run."""
    run_id: str
    ends: Sequence[str] = ("success",)

    @property
    def location(self) -> str:
        return f"/threads/{self.thread_id}/runs/{self.run_id}" if self.thread_id else f"/runs/{self.run_id}"


@dataclass(slots=True)
class Ledger:
    """All promises to clients, and the violations found by waiting clients."""

    promises: list[Promise] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    """Readers and waiters still connected long after their run had ended."""
    counts: Counter[str] = field(default_factory=Counter)

    def expect(self, name: str, what: str, found: Any, wanted: Any) -> None:
        if found != wanted:
            self.faults.append(f"{name}: {what}: {found!r} instead of {wanted!r}")


def log_of(name: str, steps: int = STEPS) -> list[str]:
    """The log of an undisturbed run of the graph ``steps``."""
    return [f"{name}:{number}" for number in range(steps)]
