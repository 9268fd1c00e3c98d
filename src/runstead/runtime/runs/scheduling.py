"""Scheduling of new runs, by user or by a priority function of langgraph.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ..actor_context import require_actor_context
from .fair_turns import group_of
from .types import RunSpec, Scheduling


class RunScheduler(Protocol):
    """Scheduler that decides the priority and group of a run that is about to be created."""

    async def schedule(self, spec: RunSpec) -> Scheduling:
        """Return the scheduling of a run for the bound actor (ActorRequired without one).

        May be called several times for the same run, and its result may be discarded.
        """
        ...


class UserScheduler:
    """Scheduler for a server with users and without a priority function: each user is a group.

    ``graph_priorities`` are by graph id; a higher number is more urgent.
    """

    def __init__(self, graph_priorities: Mapping[str, int]) -> None:
        self._graph_priorities = graph_priorities

    async def schedule(self, spec: RunSpec) -> Scheduling:
        group = group_of(require_actor_context("creating a run"))
        return Scheduling(group, self._graph_priorities.get(spec.graph_id, 0))
