"""How new runs get their turn: by their user, or as a priority function of langgraph.json says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ..actor_context import require_actor_context
from .fair_turns import group_of
from .types import RunSpec, Scheduling


class RunScheduler(Protocol):
    """Decides how a run that is about to be created takes its turn."""

    async def schedule(self, spec: RunSpec) -> Scheduling:
        """Decide for a run of the bound actor (ActorRequired without one). It may be asked again for the same run, and
        what it returns may not be used.
        """
        ...


class UserScheduler:
    """The RunScheduler of a server with users and without a priority function: each user is a group.

    ``graph_priorities`` are by graph id, and the higher number is the more urgent.
    """

    def __init__(self, graph_priorities: Mapping[str, int]) -> None:
        self._graph_priorities = graph_priorities

    async def schedule(self, spec: RunSpec) -> Scheduling:
        group = group_of(require_actor_context("creating a run"))
        return Scheduling(group, self._graph_priorities.get(spec.graph_id, 0))
