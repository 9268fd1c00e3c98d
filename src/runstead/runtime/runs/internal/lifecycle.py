"""Transition table of a run's status, the only place that defines legal transitions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ..exceptions import IllegalTransition
from ..types import RunId, RunStatus, StopReason

_P, _S, _R = RunStatus.PENDING, RunStatus.STARTING, RunStatus.RUNNING
_ENDS: Final = frozenset(status for status in RunStatus if status.is_terminal)

TRANSITIONS: Final[Mapping[RunStatus, frozenset[RunStatus]]] = MappingProxyType(
    {
        # A pending run is claimed, stopped before it began, or becomes a dead letter.
        _P: frozenset({_S, RunStatus.INTERRUPTED, RunStatus.ERROR}),
        # A claimed run continues, ends, or becomes pending again: handed back, or its worker was lost.
        _S: frozenset({_R, _P}) | _ENDS,
        _R: frozenset({_P}) | _ENDS,
        # Terminal statuses are final. A dead letter that an operator retries is the only exception.
        RunStatus.SUCCESS: frozenset(),
        RunStatus.INTERRUPTED: frozenset(),
        RunStatus.TIMEOUT: frozenset(),
        RunStatus.ERROR: frozenset(),
    }
)


def is_legal(before: RunStatus, after: RunStatus) -> bool:
    """Return whether the table contains the transition."""
    return after in TRANSITIONS[before]


def check(run_id: RunId, before: RunStatus, after: RunStatus) -> None:
    """Raise IllegalTransition for a transition that the table does not contain."""
    if not is_legal(before, after):
        raise IllegalTransition(run_id, before, after)


def status_after(stop: StopReason) -> RunStatus:
    """Return the terminal status of a run that ``stop`` ended."""
    if not stop.is_terminal:
        raise ValueError(f"{stop.value} does not end a run")
    return RunStatus.TIMEOUT if stop is StopReason.TIMED_OUT else RunStatus.INTERRUPTED
