"""Recovery of the thread's state after an attempt whose code does not react to its stop.

The thread is read with its graph, as after a normal stop, so that its stored status, values and next nodes are those
that a reader of its state finds. Threads whose graph does not respond are left to `read_stored`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import Final

from runstead.runtime.runs.agents import Agent
from runstead.runtime.runs.stored_state import read_state
from runstead.runtime.serialization import encode

from .attempt import AttemptEnd
from .fenced_saver import FencedSaver
from .finished_steps import finish_step
from .planner import ExecutionPlan
from .snapshot import output_values, snapshot_of, waiting_interrupts, with_interrupts

_log = logging.getLogger(__name__)

_WRITES_WITHIN: Final = 1.0
"""Seconds to wait for writes in progress. Writes of a loop that never responds again are not seen to end."""


@dataclass(frozen=True, slots=True)
class AbandonedAttempt:
    """Reader of the state that an attempt left behind, with the ``agent`` that the attempt opened.

    ``abandoned`` is the attempt's saver, which writes nothing more; ``checkpointer`` may still write.
    """

    agent: Agent
    plan: ExecutionPlan
    abandoned: FencedSaver
    checkpointer: FencedSaver

    async def read(self) -> AttemptEnd:
        """Return the end of a stopped attempt, without a snapshot if the state cannot be read.

        Call on any loop except that of the abandoned code. Of the graph's code, this calls only reducers and
        validators.
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
            _log.warning("could not read the state of a stopped run with its graph", exc_info=True)
            return AttemptEnd(stopped=True)
