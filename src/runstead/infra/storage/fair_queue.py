"""The flows of waiting runs, and the runs that each group executes: the input of fair scheduling, read by indexes.

A group with many waiting runs costs no more than one with a few.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, Integer, bindparam, func, literal, select, tuple_, update

from runstead.runtime.runs.fair_turns import USER_GROUP, Flow, QueuedRun, in_fair_order
from runstead.runtime.runs.types import RunId

from .database import Database
from .prepared import Prepared
from .run_predicates import NOW, WAITS
from .schema import runs

_GROUPED: Final = runs.c.fairness_group.is_not(None)
_one: Final = runs.alias("one")


def _flows() -> Prepared:
    """Return a query that jumps from each flow to the next in the index, instead of reading all waiting runs."""
    of_one = (_one.c.ended_at.is_(None), _one.c.lease_until.is_(None), _one.c.fairness_group.is_not(None))
    order = (_one.c.fairness_group, _one.c.priority)
    first = select(*order).where(*of_one).order_by(*order).limit(1).subquery("first")
    flow = select(first.c.fairness_group, first.c.priority).cte("flow", recursive=True)
    after = tuple_(*order) > tuple_(flow.c.fairness_group, flow.c.priority)
    following = [
        select(column).where(*of_one, after).order_by(*order).limit(1).scalar_subquery()
        for column in (_one.c.fairness_group, _one.c.priority)
    ]
    flow = flow.union_all(select(*following).where(flow.c.fairness_group.is_not(None)))
    same = (runs.c.fairness_group == flow.c.fairness_group, runs.c.priority == flow.c.priority)
    oldest = select(func.min(runs.c.due_at)).where(WAITS, _GROUPED, *same).scalar_subquery()
    turn = select(func.max(runs.c.started_at)).where(_GROUPED, *same).scalar_subquery()
    return Prepared(
        select(flow.c.fairness_group, flow.c.priority, oldest.label("oldest"), turn.label("turn")).where(
            flow.c.fairness_group.is_not(None)
        )
    )


_FLOWS: Final = _flows()
_HELD: Final = Prepared(
    select(runs.c.fairness_group, func.count())
    .where(runs.c.lease_until.is_not(None), _GROUPED)
    .group_by(runs.c.fairness_group)
)


def held_by_group(connection: Connection) -> Counter[str]:
    """Return the number of runs of each group that workers hold."""
    return Counter(dict(_HELD.rows(connection, {})))


@dataclass(frozen=True, slots=True)
class FairQueue:
    """Waiting runs that meet a condition, in fair order."""

    statement: Prepared

    @classmethod
    def for_groups(cls, *condition: ColumnElement[bool]) -> FairQueue:
        return cls(
            Prepared(
                select(runs.c.run_id, runs.c.due_at)
                .where(
                    WAITS,
                    _GROUPED,
                    runs.c.fairness_group == bindparam("the_group"),
                    runs.c.priority == bindparam("the_priority"),
                    runs.c.due_at <= NOW,
                    *condition,
                )
                .order_by(runs.c.due_at, runs.c.queue_seq)
                .limit(bindparam("the_limit", type_=Integer()))
            )
        )

    def first(
        self, connection: Connection, executing: Counter[str], now: datetime, limit: int, shared: int
    ) -> list[RunId]:
        """Return up to ``limit`` runs; after the first ``shared`` ones, only of groups that execute none."""

        def runs_of(flow: Flow, count: int) -> list[QueuedRun]:
            values = {"the_group": flow.group, "the_priority": flow.priority, "now": now, "the_limit": count}
            return [QueuedRun(*row) for row in self.statement.rows(connection, values)]

        flows = (Flow(*row) for row in _FLOWS.rows(connection, {}))
        due = [flow for flow in flows if flow.oldest_due <= now]
        return in_fair_order(due, runs_of, executing, now, limit, shared)


async def group_by_user(database: Database) -> int:
    """Assign open runs without a group to the groups of their users; return their number.

    For a start with fair turns.
    """
    group = literal(USER_GROUP) + runs.c.tenant_id + "/" + runs.c.user_id
    ungrouped = update(runs).where(runs.c.ended_at.is_(None), runs.c.fairness_group.is_(None))
    return await database.write(lambda connection: connection.execute(ungrouped.values(fairness_group=group)).rowcount)
