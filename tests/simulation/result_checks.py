"""Checks of responses to clients, as far as they can be decided at the time of the response."""

from __future__ import annotations

import json

from runstead.runtime.runs.types import RunId, RunResult, RunStatus

from .kernel import Durable
from .world import World


class Answers:
    """Reports responses that no client should get to the witness."""

    def __init__(self, world: World, durable: Durable) -> None:
        self._world, self._durable = world, durable
        self._witness = durable.witness

    def check_result(self, run_id: RunId, result: RunResult) -> None:
        """Check law 7, and that a waiter gets a true result."""
        if not result.record.status.is_terminal and not self._is_gone(run_id):
            self.surprise(f"a waiter on {run_id} got the result {result.record.status.value}")
        script = self._witness.wanted[run_id].script
        if result.record.status is RunStatus.SUCCESS and script is not None and result.output is not None:
            log = json.loads(result.output)["log"]
            if not all(line in log for line in script.entries(0, script.undisturbed)):
                self.surprise(f"{run_id} succeeded with the output {log}")

    def check_absence(self, run_id: RunId, since: float) -> None:
        """Check a "not found" for a request made at ``since``.

        A run may be unknown if it was not created yet, refused, deleted, or rolled back.
        """
        accepted_at = self._witness.wanted[run_id].accepted_at
        if accepted_at is not None and accepted_at < since and not self._is_gone(run_id):
            self.surprise(f"{run_id} was accepted and is not found")

    def _is_gone(self, run_id: RunId) -> bool:
        return run_id not in self._durable.tables.runs

    def surprise(self, text: str) -> None:
        self._world.note("client", f"SURPRISE {text}")
        self._witness.surprises.append(f"at {self._world.now:.3f}: {text}")
