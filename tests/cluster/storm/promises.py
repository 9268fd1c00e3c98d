"""What was promised to the clients of a storm, and what may become of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

STEPS: Final = 5
GONE: Final = "gone"
"""How a run ends that is rolled back: it leaves nothing."""


@dataclass(frozen=True, slots=True)
class Promise:
    """A run whose creation was answered. ``ends``: how it may end."""

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
    """Everything that clients were promised, and what they found wrong while they were waiting for it."""

    promises: list[Promise] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    """Readers and waiters whose run had ended long ago."""
    counts: Counter[str] = field(default_factory=Counter)

    def expect(self, name: str, what: str, found: Any, wanted: Any) -> None:
        if found != wanted:
            self.faults.append(f"{name}: {what}: {found!r} instead of {wanted!r}")


def log_of(name: str, steps: int = STEPS) -> list[str]:
    """What an undisturbed run of the graph ``steps`` leaves in the log."""
    return [f"{name}:{number}" for number in range(steps)]
