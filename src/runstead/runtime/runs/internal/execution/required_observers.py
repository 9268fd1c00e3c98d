"""Confirm the end of a run with its required observers before the end is written."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from runstead.runtime.clock import Clock

from ...observer import RunLifecycleEvent, RunObserver
from ...types import Outcome, RunFailure, RunStatus

_log = logging.getLogger(__name__)

_PAUSES: Final = (0.2, 1.0, 5.0)
"""Seconds between the attempts."""


async def confirm_end(
    observers: Sequence[RunObserver], event: RunLifecycleEvent, outcome: Outcome, clock: Clock
) -> Outcome:
    """Return the outcome, or a failure if an observer does not take the event after several attempts.

    An observer that has taken it is not notified again by this call. A run whose worker dies before its end is written
    is confirmed again by the next attempt, so observers have to expect an end more than once.
    """
    waiting, failed = list(observers), ""
    for pause in (*_PAUSES, None):
        left = []
        for observer in waiting:
            try:
                await observer.on_event(event)
            except Exception:
                failed = type(observer).__name__
                _log.warning("required observer %s failed on the end of run %s", failed, event.run_id, exc_info=True)
                left.append(observer)
        waiting = left
        if not waiting:
            return outcome
        if pause is not None:
            await clock.sleep(pause)
    failure = RunFailure("RequiredObserverFailed", f"required observer {failed} did not take the end of this run")
    thread = replace(outcome.thread, status="error", error=failure)
    return replace(outcome, status=RunStatus.ERROR, failure=failure, thread=thread)
