"""Fair order of pending runs: by urgency, and within the same urgency by turns of groups.

A flow is the set of pending runs with the same group and priority. Among flows of the same urgency, the flow whose
group has the fewest executing runs comes first, then the flow whose last turn is longest ago. A priority that gets no
turn becomes more urgent over time, so that none starves. The stores read which runs are pending and executing.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from ..actor_context import ActorContext
from .types import RunId

MOST_URGENT: Final = -5
LEAST_URGENT: Final = 5
USER_GROUP: Final = "user:"
"""Prefix of the name of a user's group."""
NAMED_GROUP: Final = "group:"
"""Prefix of the name of a group that a priority function named; never the group of a user."""
RISES_AFTER: Final = timedelta(seconds=60)
"""Runs of a priority that gets no turn for this long count as one step more urgent, up to the most urgent pending
priority."""


def group_of(actor: ActorContext) -> str:
    """Return the default group of a user."""
    return f"{USER_GROUP}{actor.tenant_id}/{actor.user_id}"


@dataclass(frozen=True, slots=True)
class Flow:
    """Pending runs of one group with the same priority.

    ``oldest_due`` is no later than the due time of any of its runs; ``last_turn`` is the latest start of one of its
    runs, if known.
    """

    group: str
    priority: int
    oldest_due: datetime
    last_turn: datetime | None = None


@dataclass(frozen=True, slots=True)
class QueuedRun:
    """A claimable run, and the time since which it is due."""

    run_id: RunId
    due_at: datetime


RunsOfFlow: TypeAlias = Callable[[Flow, int], Sequence[QueuedRun]]
"""Reader of the first runs of a flow, up to a limit, in the order in which they begin."""

_Key: TypeAlias = tuple[int, int, datetime, int, str]


class _Waiting:
    """A flow while its runs are ordered. ``since`` is the time of its last turn, or since when it waits for its
    first."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.since = max(flow.oldest_due, flow.last_turn or flow.oldest_due)
        self.runs: list[QueuedRun] | None = None

    def read(self, runs_of: RunsOfFlow, limit: int) -> None:
        self.runs = list(reversed(runs_of(self.flow, limit)))
        if self.runs:
            self.since = max(self.since, self.runs[-1].due_at)


class _Order:
    """Order of turns, given the runs taken so far. Every key only grows while runs are read and taken."""

    def __init__(self, flows: Sequence[Flow], executing: Counter[str], now: datetime) -> None:
        self._now = now
        self.executing = Counter(executing)
        self._turns: dict[int, datetime] = {}
        self._most_urgent = min((flow.priority for flow in flows), default=0)
        for priority in {flow.priority for flow in flows}:
            same = [flow for flow in flows if flow.priority == priority]
            oldest = min(flow.oldest_due for flow in same)
            self._turns[priority] = max(oldest, *(flow.last_turn or oldest for flow in same))

    def key(self, waiting: _Waiting) -> _Key:
        flow = waiting.flow
        # All flows of a priority rise together, so that only their groups decide among them.
        risen = max(self._now - self._turns[flow.priority], timedelta()) // RISES_AFTER
        urgency = max(flow.priority - risen, self._most_urgent)
        return urgency, self.executing[flow.group], waiting.since, flow.priority, flow.group

    def take(self, waiting: _Waiting) -> RunId:
        assert waiting.runs, "only a flow with a run has a turn"
        flow = waiting.flow
        self.executing[flow.group] += 1
        waiting.since = max(self._now, waiting.since)
        self._turns[flow.priority] = max(self._now, self._turns[flow.priority])
        return waiting.runs.pop().run_id


def in_fair_order(
    flows: Iterable[Flow],
    runs_of: RunsOfFlow,
    executing: Counter[str],
    now: datetime,
    limit: int,
    shared: int,
) -> list[RunId]:
    """Return the next ``limit`` runs as if each began at once; the runs of one flow keep their order.

    Only the first ``shared`` of them may belong to groups with an executing run; each of the others is the first of its
    group. ``executing`` counts the executing runs of each group.
    """
    all_flows = list(flows)
    order = _Order(all_flows, executing, now)
    queue = [(order.key(waiting), number, waiting) for number, waiting in enumerate(map(_Waiting, all_flows))]
    heapq.heapify(queue)
    taken: list[RunId] = []
    while queue and len(taken) < limit:
        key, number, waiting = heapq.heappop(queue)
        if len(taken) >= shared and order.executing[waiting.flow.group] > 0:
            continue
        if waiting.runs is None:
            waiting.read(runs_of, limit - len(taken))
        if not waiting.runs:
            continue
        if order.key(waiting) == key:
            taken.append(order.take(waiting))
        heapq.heappush(queue, (order.key(waiting), number, waiting))
    return taken
