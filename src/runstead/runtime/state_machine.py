"""A state of one object, with a table of its transitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

S = TypeVar("S")


class StateMachine(Generic[S]):
    """The current state. It changes only as the table allows."""

    __slots__ = ("_transitions", "state")

    def __init__(self, initial: S, transitions: Mapping[S, frozenset[S]]) -> None:
        self.state = initial
        self._transitions = transitions

    def enter(self, state: S) -> None:
        """Change to ``state``. Raises RuntimeError for a transition that the table does not contain."""
        if state not in self._transitions[self.state]:
            raise RuntimeError(f"no transition from {self.state} to {state}")
        self.state = state
