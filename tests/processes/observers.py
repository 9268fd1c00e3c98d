"""Observers of a real process: one that is required, and one that kills the process right after an end was written."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from runstead.runtime import RunLifecycleEvent, RunLifecycleEventType

FOLDER = "RUNSTEAD_TEST_OBSERVED"


class Ledger:
    """A required observer that writes each end into a file, with the process that notified it."""

    required = True

    async def on_event(self, event: RunLifecycleEvent) -> None:
        if event.event_type is RunLifecycleEventType.RUN_COMPLETED:
            line = json.dumps({"event_id": event.event_id, "run_id": event.run_id, "pid": os.getpid()})
            with (Path(os.environ[FOLDER]) / "ledger").open("a") as file:
                file.write(line + "\n")


class Killer:
    """Kills the process when it is notified of an end, which is written then. Does so once."""

    async def on_event(self, event: RunLifecycleEvent) -> None:
        killed = Path(os.environ[FOLDER]) / "killed"
        if event.event_type is RunLifecycleEventType.RUN_COMPLETED and not killed.exists():
            killed.write_text(event.run_id)
            os.kill(os.getpid(), signal.SIGKILL)
