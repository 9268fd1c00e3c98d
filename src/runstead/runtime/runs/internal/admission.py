"""Decision about the runs in flight on a thread when a new run is created.

Pure: no clock, no store. The store carries the decision out in the transaction that writes the row, so that two
concurrent requests are never both admitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from ..store.create_store import Admission, Admit, Refuse, Steer
from ..types import MultitaskStrategy, RunId, StopReason


def decide(strategy: MultitaskStrategy, in_flight: Sequence[RunId]) -> Admission:
    """Return the admission that ``strategy`` gives a new run. ``in_flight`` lists the thread's runs, oldest first."""
    if not in_flight:
        return Admit()
    match strategy:
        case "reject":
            return Refuse(busy_with=tuple(in_flight))
        case "enqueue":
            return Admit()
        case "interrupt":
            return Admit(stopping=tuple(in_flight), reason=StopReason.SUPERSEDED)
        case "rollback":
            return Admit(stopping=tuple(in_flight), reason=StopReason.SUPERSEDED_ROLLBACK)
        case "steer":
            return Steer()
        case _:
            assert_never(strategy)
