"""Whether what a client was answered is true, as far as that can be told in the moment of the answer."""

from __future__ import annotations

import json

from runstead.runtime.runs.types import RunId, RunResult, RunStatus

from .kernel import Durable
from .world import World


class Answers:
    """Tells the witness of answers that no client should get."""

    def __init__(self, world: World, durable: Durable) -> None:
        self._world, self._durable = world, durable
        self._witness = durable.witness

    def check_result(self, run_id: RunId, result: RunResult) -> None:
        """Law 7, and that a waiter is told what is true."""
        if not result.record.status.is_terminal and not self._is_gone(run_id):
            self.surprise(f"a waiter on {run_id} was told {result.record.status.value}")
        script = self._witness.wanted[run_id].script
        if result.record.status is RunStatus.SUCCESS and script is not None and result.output is not None:
            log = json.loads(result.output)["log"]
            if not all(line in log for line in script.entries(0, script.undisturbed)):
                self.surprise(f"{run_id} succeeded with the output {log}")

    def check_absence(self, run_id: RunId, since: float) -> None:
        """Asked ``since``, a run may be unknown when it was not created yet, not let in, deleted, or rolled back."""
        accepted_at = self._witness.wanted[run_id].accepted_at
        if accepted_at is not None and accepted_at < since and not self._is_gone(run_id):
            self.surprise(f"{run_id} was accepted and is not found")

    def _is_gone(self, run_id: RunId) -> bool:
        return run_id not in self._durable.tables.runs

    def surprise(self, text: str) -> None:
        self._world.note("client", f"SURPRISE {text}")
        self._witness.surprises.append(f"at {self._world.now:.3f}: {text}")
