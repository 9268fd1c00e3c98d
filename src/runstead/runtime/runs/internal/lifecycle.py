"""The legal moves of a run's status: one table, and nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ..exceptions import IllegalTransition
from ..types import RunId, RunStatus, Stopped

_P, _S, _R = RunStatus.PENDING, RunStatus.STARTING, RunStatus.RUNNING
_ENDS: Final = frozenset(status for status in RunStatus if status.is_terminal)

MOVES: Final[Mapping[RunStatus, frozenset[RunStatus]]] = MappingProxyType(
    {
        # A pending run is claimed, stopped before it began, or given up as a dead letter.
        _P: frozenset({_S, RunStatus.INTERRUPTED, RunStatus.ERROR}),
        # A held run goes on, ends, or goes back to waiting: handed back, or its worker was lost.
        _S: frozenset({_R, _P}) | _ENDS,
        _R: frozenset({_P}) | _ENDS,
        # Nothing leaves a terminal status; a dead letter that is retried is the one exception, made by hand.
        RunStatus.SUCCESS: frozenset(),
        RunStatus.INTERRUPTED: frozenset(),
        RunStatus.TIMEOUT: frozenset(),
        RunStatus.ERROR: frozenset(),
    }
)


def is_legal(before: RunStatus, after: RunStatus) -> bool:
    """Whether the table knows the move."""
    return after in MOVES[before]


def check(run_id: RunId, before: RunStatus, after: RunStatus) -> None:
    """Raise IllegalTransition for a move the table does not know."""
    if not is_legal(before, after):
        raise IllegalTransition(run_id, before, after)


def status_after(stop: Stopped) -> RunStatus:
    """The terminal status of a run that ended by ``stop``."""
    if not stop.settles:
        raise ValueError(f"{stop.value} does not end a run")
    return RunStatus.TIMEOUT if stop is Stopped.TIMED_OUT else RunStatus.INTERRUPTED
