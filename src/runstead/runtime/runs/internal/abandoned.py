"""What an attempt leaves whose code does not react to its stop: its writes are refused, and its thread is read.

It is read with the graph, as after a stop that the code reacts to, so that the thread's status, values and next nodes
are those that a reader of its state finds. Leaves to others: threads whose graph does not answer (`read_stored`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from runstead.runtime.serialization import encode

from ..agents import Agent
from ..exceptions import LeaseLost
from ..stored_agents import read_state
from ..types import Lease
from .attempt import AttemptEnd
from .fence import FencedSaver
from .finished_steps import finish_step
from .planner import ExecutionPlan
from .snapshot import output_values, snapshot_of, waiting_interrupts, with_interrupts

_log = logging.getLogger(__name__)

_WRITES_WITHIN: Final = 1.0
"""Seconds that writes under way are waited for. Those of a loop that does not come back are never seen to end."""


class WriteGate:
    """Lets code of ``lease``'s attempt write, until it is closed. ``check`` and ``guard`` are the executor's."""

    def __init__(self, lease: Lease, check: Callable[[], bool], guard: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._lease, self._check, self._guard = lease, check, guard
        self._is_closed = False

    def close(self) -> None:
        """Refuse every write from now on with LeaseLost."""
        self._is_closed = True

    def check(self) -> bool:
        """As FencedSaver asks it. For any thread."""
        self._require_open()
        return self._check()

    async def guard(self) -> None:
        """As FencedSaver asks it, on the server's loop."""
        self._require_open()
        await self._guard()

    def _require_open(self) -> None:
        if self._is_closed:
            raise LeaseLost(self._lease.run_id, self._lease.attempt)


@dataclass(frozen=True, slots=True)
class AbandonedAttempt:
    """Reads what an attempt has left, with the ``agent`` that it has opened.

    ``abandoned`` is the attempt's saver, which writes nothing more; ``checkpointer`` may.
    """

    agent: Agent
    plan: ExecutionPlan
    abandoned: FencedSaver
    checkpointer: FencedSaver

    async def read(self) -> AttemptEnd:
        """Return the end of a stopped attempt, without a snapshot where the state cannot be read.

        On any loop but that of the abandoned code: of the graph's code, this calls reducers and validators alone.
        """
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.abandoned.writes_ended(), _WRITES_WITHIN)
            agent = self.agent.copy(update={"checkpointer": self.checkpointer})
            state = await read_state(agent, self.plan.state_config)
            if await finish_step(agent, self.plan.state_config, state):
                state = await read_state(agent, self.plan.state_config)
            output = encode(with_interrupts(output_values(agent, state), waiting_interrupts(state)))
            return AttemptEnd(True, output, snapshot_of(state))
        except Exception:
            _log.warning("the state that a stopped run has left could not be read with its graph", exc_info=True)
            return AttemptEnd(stopped=True)
