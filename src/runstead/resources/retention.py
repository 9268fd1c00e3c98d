"""Retention: which runs, events and checkpoints of a thread are deleted while the thread stays.

Threads that expire as a whole are in `thread_expiry`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TypeAlias

from runstead.runtime.runs.types import ThreadId


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """Retention of threads of a graph and a tenant (patterns such as ``team-*``). None: no limit.

    ``runs_days`` and ``events_days``: age after which ended runs and events are deleted. Of checkpoints, those are
    deleted that are older than ``checkpoints_days`` or beyond the newest ``checkpoints_per_thread``, each if it is
    given; of these, those at every ``checkpoints_every``-th step stay.
    """

    graph: str = "*"
    tenant: str = "*"
    runs_days: float | None = None
    events_days: float | None = None
    checkpoints_days: float | None = None
    checkpoints_per_thread: int | None = None
    checkpoints_every: int | None = None

    @property
    def limits_checkpoints(self) -> bool:
        """True if the rule deletes checkpoints."""
        return self.checkpoints_days is not None or self.checkpoints_per_thread is not None

    def may_delete_of(self, count: int) -> bool:
        """Return whether the rule may delete some of ``count`` checkpoints of a namespace."""
        if count < 2 or not self.limits_checkpoints:
            return False
        return self.checkpoints_days is not None or count > (self.checkpoints_per_thread or 0)

    def applies_to(self, graph: str, tenant: str) -> bool:
        """Return whether the rule is for threads of this graph and tenant."""
        return fnmatchcase(graph, self.graph) and fnmatchcase(tenant, self.tenant)


Ruled: TypeAlias = Mapping[ThreadId, RetentionRule]
"""Threads with the rule of each."""


def rule_for(rules: Sequence[RetentionRule], graph: str, tenant: str) -> RetentionRule | None:
    """Return the first rule that applies; None if all data of the thread is kept."""
    return next((rule for rule in rules if rule.applies_to(graph, tenant)), None)


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint of one thread and namespace, as retention sees it.

    ``position`` is the order of writing. ``delta_steps``: how many ancestors are needed to rebuild its delta channels.
    ``created_at``: None if its id does not contain a time. ``size``: its bytes and those of its writes; ``writes`` is
    their number.
    """

    checkpoint_id: str
    parent_id: str | None
    position: int
    created_at: datetime | None
    step: int | None = None
    delta_steps: int = 0
    is_interrupted: bool = False
    size: int = 0
    writes: int = 0


def deletable(
    checkpoints: Collection[StoredCheckpoint], rule: RetentionRule, now: datetime
) -> Sequence[StoredCheckpoint]:
    """Return the checkpoints of one thread and namespace that the rule deletes, the oldest first.

    The latest one, those with a pending interrupt, points where branches part with the first checkpoint of each branch,
    and the last one of each branch always stay, and so do the ancestors that a delta channel of one of these needs.

    If only the first ones of the result are deleted, a later call returns the others: so they may be deleted in
    several transactions, and a call after the last one returns nothing.
    """
    newest_first = sorted(checkpoints, key=lambda one: one.position, reverse=True)
    if not rule.limits_checkpoints or len(newest_first) < 2:
        return []
    children = Counter(one.parent_id for one in newest_first if one.parent_id is not None)
    kept = {
        one.checkpoint_id
        for number, one in enumerate(newest_first)
        if number == 0
        or one.is_interrupted
        or children[one.checkpoint_id] != 1
        # Without them, the point where branches part would look like one without branches to the next pass.
        or (one.parent_id is not None and children[one.parent_id] > 1)
        or not _is_over(one, number, rule, now)
    }
    by_id = {one.checkpoint_id: one for one in newest_first}
    kept |= _ancestors([by_id[name] for name in kept], by_id)
    return [one for one in reversed(newest_first) if one.checkpoint_id not in kept]


def _is_over(one: StoredCheckpoint, number: int, rule: RetentionRule, now: datetime) -> bool:
    """Return whether a limit of the rule is exceeded; ``number`` counts from the newest, which is 0."""
    every = rule.checkpoints_every
    if every is not None and one.step is not None and one.step % every == 0:
        return False
    if rule.checkpoints_per_thread is not None and number >= rule.checkpoints_per_thread:
        return True
    return (
        rule.checkpoints_days is not None
        and one.created_at is not None
        and one.created_at < now - timedelta(days=rule.checkpoints_days)
    )


def _ancestors(kept: Iterable[StoredCheckpoint], by_id: Mapping[str, StoredCheckpoint]) -> set[str]:
    """Return the ancestors whose writes are needed to rebuild the delta channels of the kept checkpoints."""
    needed: set[str] = set()
    for one in kept:
        seen, parent = {one.checkpoint_id}, one.parent_id
        for _ in range(one.delta_steps):
            if parent is None or parent in seen or (found := by_id.get(parent)) is None:
                break
            seen.add(parent)
            needed.add(parent)
            parent = found.parent_id
    return needed


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """Rows that a pass deletes, or would delete, and the bytes of their data (without indexes)."""

    threads: int = 0
    runs: int = 0
    events: int = 0
    checkpoints: int = 0
    writes: int = 0
    checkpoint_bytes: int = 0
    failed: int = 0

    def plus(self, other: RetentionReport) -> RetentionReport:
        """Return the sum."""
        names = [one.name for one in fields(self)]
        return RetentionReport(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def deletes(self) -> bool:
        """True if anything is deleted."""
        return any((self.runs, self.events, self.checkpoints, self.writes))

    @classmethod
    def from_json(cls, numbers: Mapping[str, int]) -> RetentionReport:
        """Return a report from its numbers by their names."""
        return cls(**{one.name: numbers.get(one.name, 0) for one in fields(cls)})

    def to_json(self) -> dict[str, int]:
        """Return the numbers by their names."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


def sum_of(reports: Iterable[RetentionReport]) -> RetentionReport:
    """Return the sum of reports."""
    total = RetentionReport()
    for report in reports:
        total = total.plus(report)
    return total
