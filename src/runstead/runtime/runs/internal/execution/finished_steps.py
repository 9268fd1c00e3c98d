"""Completion of a step whose nodes had all ended when their run was stopped.

LangGraph stores the writes of each node, and after the last node a checkpoint that names the next nodes. A stop between
the two leaves a thread that looks finished: it has no next node, and a run with a new message drops the nodes' writes.
"""

from __future__ import annotations

import logging
from typing import Any

from runstead.runtime.runs.agents import Agent
from runstead.runtime.runs.exceptions import LeaseLost

from ....json_types import JsonMapping

_log = logging.getLogger(__name__)


async def finish_step(agent: Agent, config: JsonMapping, state: Any) -> bool:
    """Write the checkpoint after the last step of a thread if it is missing. Return whether it was missing.

    ``state`` is the state read with ``config``, which names no checkpoint. No node is executed: the graph stops before
    the next one. Raises LeaseLost.
    """
    if state.next or not state.tasks or not all(_has_ended(task) for task in state.tasks):
        return False
    try:
        async for _ in agent.astream(None, config, interrupt_before="*", durability="sync"):
            pass
    except LeaseLost:
        # Not a failure: the run was settled or another worker has claimed it, and this attempt may write nothing more.
        raise
    except Exception:
        _log.warning("could not complete the last step of a stopped run", exc_info=True)
        return False
    return True


def _has_ended(task: Any) -> bool:
    return task.result is not None and not task.error and not task.interrupts
