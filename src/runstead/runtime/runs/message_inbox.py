"""Taking of steering messages by the code of an agent: `take_messages` and `atake_messages`.

Messages that a task takes are delivered when LangGraph has stored the results of the task, so the task must return
them, as an update of the state. One execution of a task gets each message once; a task that is executed again, after a
failure or on another worker, gets the same messages again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Protocol

from langchain_core.messages import AnyMessage, convert_to_messages
from langgraph.config import get_config
from langgraph.runtime import ExecutionInfo, Runtime

from ..json_types import JsonMapping, JsonObject
from .steering import TakingTask


class MessageInbox(Protocol):
    """The waiting messages of one attempt of a run. Usable from any thread and event loop, except for the server's."""

    async def take(self, task: TakingTask, execution: ExecutionInfo | None = None) -> Sequence[JsonObject]:
        """Take all waiting messages for a task, oldest first, without those that the same execution of it has got."""
        ...

    def take_blocking(self, task: TakingTask, execution: ExecutionInfo | None = None) -> Sequence[JsonObject]:
        """As `take`, in a thread without an event loop."""
        ...


_current: ContextVar[MessageInbox | None] = ContextVar("runstead_inbox", default=None)
_OUTSIDE: Final = "take messages inside of a node of the graph, such as before its model call"


class NotInNode(RuntimeError):
    """Messages were asked for in the code of a run that is not part of a node."""

    def __init__(self) -> None:
        super().__init__(_OUTSIDE)


def take_messages() -> list[AnyMessage]:
    """Return the messages that were sent to the run whose node calls this, oldest first; usually none.

    For synchronous nodes; `atake_messages` is for asynchronous ones. The node must return them, as in
    ``{"messages": take_messages()}``. Outside of a run of Runstead, there are none.
    """
    inbox = _current.get()
    if inbox is None:
        return []
    config = _config()
    return _parsed(inbox.take_blocking(_task(config), _execution(config)))


async def atake_messages() -> list[AnyMessage]:
    """As `take_messages`, for asynchronous nodes."""
    inbox = _current.get()
    if inbox is None:
        return []
    config = _config()
    return _parsed(await inbox.take(_task(config), _execution(config)))


@contextmanager
def bound_inbox(inbox: MessageInbox | None) -> Iterator[None]:
    """Bind the inbox of an attempt, for the duration of a block."""
    token = _current.set(inbox)
    try:
        yield
    finally:
        _current.reset(token)


def _config() -> JsonMapping:
    """Return the configuration of the calling node. Raises NotInNode."""
    try:
        config: Any = get_config()
    except RuntimeError as error:
        raise NotInNode from error
    return config  # type: ignore[no-any-return]


def _task(config: JsonMapping) -> TakingTask:
    place, metadata = config.get("configurable", {}), config.get("metadata", {})
    task_id, step = place.get("__pregel_task_id"), metadata.get("langgraph_step")
    if task_id is None or not isinstance(step, int):
        raise NotInNode
    # The namespace of a task is that of its graph, with a part of its own.
    namespace = place.get("checkpoint_ns", "").rpartition("|")[0]
    checkpoint_id = place.get("checkpoint_map", {}).get(namespace)
    return TakingTask(task_id, namespace, checkpoint_id, step)


def _execution(config: JsonMapping) -> ExecutionInfo | None:
    """Return what LangGraph says about the execution of the calling node: a retry differs from the one before."""
    runtime = config.get("configurable", {}).get("__pregel_runtime")
    return runtime.execution_info if isinstance(runtime, Runtime) else None


def _parsed(messages: Sequence[JsonObject]) -> list[AnyMessage]:
    parsed: list[AnyMessage] = convert_to_messages(messages)  # type: ignore[assignment]
    return parsed
