"""Finish a step whose nodes had all ended when their run was stopped.

LangGraph stores what each node wrote, and after the last one a checkpoint that says which nodes come next. A stop
between the two leaves a thread that looks done: no node comes next, and a run with a new message drops what they wrote.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ..agents import Agent
from ..exceptions import LeaseLost

_log = logging.getLogger(__name__)


async def finish_step(agent: Agent, config: Mapping[str, Any], state: Any) -> bool:
    """Write the checkpoint after the last step of a thread if it is missing. Return whether it was.

    ``state`` is what ``config`` reads, which names no checkpoint. No node is executed: the graph stops before the next.
    Raises LeaseLost.
    """
    if state.next or not state.tasks or not all(_has_ended(task) for task in state.tasks):
        return False
    try:
        async for _ in agent.astream(None, config, interrupt_before="*", durability="sync"):
            pass
    except LeaseLost:
        # Not a fault: the run was settled, or another worker has it, and what is left of this attempt writes nothing.
        raise
    except Exception:
        _log.warning("the last step of a stopped run could not be finished", exc_info=True)
        return False
    return True


def _has_ended(task: Any) -> bool:
    return task.result is not None and not task.error and not task.interrupts
