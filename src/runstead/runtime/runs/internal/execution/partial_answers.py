"""Partial answer of a stopped run: kept on the thread, while its node remains the next node to execute.

Only text that is certainly the node's answer is kept. The output of a model may also be a router's choice, a tool's
reasoning or a title. So the node must be the only active one, must answer by its position in the graph, must have
streamed nothing else, and the conversation must wait for an answer. See docs/adr/0026.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessageChunk, RemoveMessage, message_chunk_to_message
from langgraph.checkpoint.base import WRITES_IDX_MAP, BaseCheckpointSaver
from langgraph.graph import END
from langgraph.prebuilt import ToolNode
from langgraph.types import Command

from runstead.runtime.runs.agents import Agent
from runstead.runtime.runs.callbacks.callers import caller_of
from runstead.runtime.runs.interrupts import NO_TASK
from runstead.runtime.runs.stored_state import read_state
from runstead.runtime.runs.types import StopReason

from ....json_types import JsonMapping
from .planner import ExecutionPlan

_log = logging.getLogger(__name__)

_MESSAGES: Final = "messages"
_AGENT_NODE: Final = ("langchain.agents.factory", "model")
"""Module in which LangChain's create_agent defines the node that answers, and the node's name."""


class PartialAnswers:
    """Nodes of this process that have streamed a message which did not become part of the state."""

    def __init__(self) -> None:
        self._nodes: set[tuple[str, str]] = set()

    def add(self, graph_id: str, node: str) -> None:
        self._nodes.add((graph_id, node))

    def __contains__(self, graph_and_node: tuple[str, str]) -> bool:
        return graph_and_node in self._nodes


@dataclass(frozen=True, slots=True)
class _Said:
    """One message that a task is streaming; ``parts`` grows."""

    node: str
    parts: Sequence[BaseMessageChunk]
    is_lead: bool


@dataclass(slots=True)
class StreamedAnswers:
    """Messages that the tasks of the root graph have streamed in the current step."""

    graph_id: str
    asides: PartialAnswers
    _said: dict[str, dict[str, _Said]] = field(default_factory=dict)

    def begun(self, key: str, parts: Sequence[BaseMessageChunk], metadata: JsonMapping) -> None:
        """Record the first part of a message of the root graph. The caller appends later parts to ``parts``."""
        if not isinstance(parts[0], AIMessageChunk):
            return
        node = str(metadata.get("langgraph_node", ""))
        task = str(metadata.get("langgraph_checkpoint_ns") or node)
        is_lead = (
            caller_of(metadata.get("tags"), metadata) == "lead_agent" and "ls_structured_output_format" not in metadata
        )
        self._said.setdefault(task, {})[key] = _Said(node, parts, is_lead)

    def step_ended(self, values: object) -> None:
        """Forget the step's messages: they are in the state now, or never will be. Record nodes whose message is
        missing there."""
        if not self._said:
            return
        kept = values.get(_MESSAGES) if isinstance(values, Mapping) else None
        ids = {getattr(message, "id", None) for message in kept} if isinstance(kept, list) else set()
        for said in self._said.values():
            for key, one in said.items():
                if key not in ids:
                    self.asides.add(self.graph_id, one.node)
        self._said.clear()

    def of_task(self, task: Any) -> AIMessage | None:
        """Return the only message that a task has streamed; None if it streamed none or several, or its node is in
        ``asides``."""
        said = self._said.get(f"{task.name}:{task.id}") or self._said.get(task.name) or {}
        if len(said) != 1 or (self.graph_id, task.name) in self.asides:
            return None
        (one,) = said.values()
        message = message_chunk_to_message(sum(one.parts[1:], start=one.parts[0]))
        return message if one.is_lead and isinstance(message, AIMessage) else None


async def keep_partial_answer(
    agent: Agent, saver: BaseCheckpointSaver[Any], state: Any, answers: StreamedAnswers, reason: StopReason
) -> bool:
    """Write the partial answer of the stopped node to the thread, if there is one. Return whether it was written.

    It is stored as LangGraph stores a command's update: as a pending write without a task, so that the next nodes stay
    the same.
    """
    if reason.rolls_back:
        return False
    try:
        message = _answer(agent, state, answers)
        if message is None:
            return False
        message = _marked(message, reason)
        stored = await saver.aget_tuple(state.config)
        if stored is None or not message.content or not _can_be_taken_back(agent, state, message):
            return False
        # A write is stored by its index in the list, and stored writes stay: the new one comes last.
        writes = [
            (channel, value)
            for task_id, channel, value in stored.pending_writes or ()
            if task_id == NO_TASK and channel not in WRITES_IDX_MAP
        ]
        await saver.aput_writes(stored.config, [*writes, (_MESSAGES, [message])], NO_TASK)
    except Exception:
        _log.warning("could not store the partial answer of a stopped run", exc_info=True)
        return False
    return True


async def without_partial_answer(agent: Agent, plan: ExecutionPlan) -> ExecutionPlan:
    """Return the plan of a run that continues a stopped one. It removes the partial answer, so that the node answers
    the same messages again."""
    if plan.input is not None or plan.resuming:
        return plan
    state = await read_state(agent, plan.config)
    messages = state.values.get(_MESSAGES) if isinstance(state.values, Mapping) else None
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not (state.next and isinstance(last, AIMessage) and last.response_metadata.get("partial") is True):
        return plan
    return replace(plan, input=Command(update={_MESSAGES: [RemoveMessage(id=str(last.id))]}))


def _answer(agent: Any, state: Any, answers: StreamedAnswers) -> AIMessage | None:
    at_work = [task for task in state.tasks if task.result is None]
    if len(at_work) != 1 or at_work[0].interrupts:
        return None
    (task,) = at_work
    message = answers.of_task(task)
    if message is None or not isinstance(state.values, Mapping):
        return None
    return message if _waits_for_answer(state.values.get(_MESSAGES)) and _is_answering(agent, task.name) else None


def _waits_for_answer(messages: object) -> bool:
    """Return whether the conversation ends with a message to answer, and no tool call is still open."""
    if not isinstance(messages, list):
        return False
    if messages and isinstance(messages[-1], AIMessage):
        return False
    answered = {message.tool_call_id for message in messages if message.type == "tool"}
    calls = [call["id"] for message in messages if isinstance(message, AIMessage) for call in message.tool_calls]
    return all(call in answered for call in calls)


def _is_answering(agent: object, node: str) -> bool:
    """Return whether the node answers by its position: the agent's own node, or one that only tools or the end can
    follow."""
    builder = getattr(agent, "builder", None)
    if builder is None or node not in builder.nodes:
        return False
    functions = _functions(builder.nodes[node].runnable)
    if any(function.__module__ == _AGENT_NODE[0] for function in functions):
        return node == _AGENT_NODE[1]
    if any({"Command", "Send"} & set(getattr(function, "__code__", _NO_CODE).co_names) for function in functions):
        # The function may choose the next node itself.
        return False
    targets: set[str] = {end for start, end in builder.edges if start == node}
    targets |= {end for starts, end in builder.waiting_edges if node in starts}
    targets |= set(builder.nodes[node].ends or ())
    for branch in builder.branches.get(node, {}).values():
        if branch.ends is None:
            return False
        targets |= set(branch.ends.values())
    return all(target == END or _is_tool_node(builder, target) for target in targets)


def _is_tool_node(builder: Any, node: str) -> bool:
    return node in builder.nodes and (isinstance(builder.nodes[node].runnable, ToolNode) or "tool" in node.lower())


def _functions(runnable: object) -> Sequence[object]:
    functions = (getattr(runnable, "func", None), getattr(runnable, "afunc", None))
    return [function for function in functions if hasattr(function, "__module__") and function is not None]


def _no_code() -> None:
    """Stand in for a callable that has no code object."""


_NO_CODE: Final = _no_code.__code__


def _can_be_taken_back(agent: Any, state: Any, message: AIMessage) -> bool:
    """Return whether the state's reducer appends messages and can remove them again. Not every channel does."""
    channel = agent.channels.get(_MESSAGES)
    if (operator := getattr(channel, "operator", None)) is not None:
        add = operator
    elif (reducer := getattr(channel, "reducer", None)) is not None:
        add = lambda before, given: reducer(before, [given])  # noqa: E731
    else:
        return False
    before = list(state.values[_MESSAGES])
    ids = [each.id for each in before]
    added = add(list(before), [message])
    if [each.id for each in added] != [*ids, message.id]:
        return False
    return [each.id for each in add(list(added), [RemoveMessage(id=str(message.id))])] == ids


def _marked(message: AIMessage, reason: StopReason) -> AIMessage:
    content = message.content
    if isinstance(content, list):
        # The next model would refuse fragments of a tool call, or reasoning without a signature.
        content = [part for part in content if isinstance(part, str) or part.get("type") == "text"]
    return message.model_copy(
        update={
            "id": message.id or str(uuid.uuid4()),
            "content": content,
            # An incomplete tool call must not look like an open one.
            "tool_calls": [],
            "invalid_tool_calls": [],
            "additional_kwargs": {
                name: value
                for name, value in message.additional_kwargs.items()
                if name not in ("tool_calls", "function_call")
            },
            "response_metadata": {**message.response_metadata, "partial": True, "stop_reason": reason.value},
        }
    )
