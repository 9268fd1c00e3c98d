"""Tools channel: calls of tools and their results.

LangGraph's stream contains neither directly. A call begins with the task that received it, and ends with the tool
message that answers it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from runstead.runtime.json_types import JsonMapping, JsonObject

from .blocks import Data
from .compact_messages import is_message, slim_message

_TOOL_NODE: Final = "tools"
"""Default name of the node that executes tool calls, which the JavaScript client also expects. With another node name,
a call is reported only when it has ended."""


class ToolTranslator:
    """Tool calls of one run."""

    def __init__(self) -> None:
        self._known: dict[str, JsonMapping] = {}
        self._started: set[str] = set()
        self._ended: set[str] = set()

    def task_started(self, task: JsonMapping) -> Iterator[Data]:
        for call in _calls_of(task):
            self._known[str(call.get("id"))] = call
            if str(task.get("name")) == _TOOL_NODE or _is_dispatch(task.get("input")):
                yield from self._start(call)

    def message(self, message: JsonMapping) -> Iterator[Data]:
        """Process a message that has arrived whole."""
        for call in message.get("tool_calls") or ():
            self._known[str(call.get("id"))] = call
        if message.get("type") == "tool" and isinstance(call_id := message.get("tool_call_id"), str):
            yield from self._end(call_id, dict(message))

    def result(self, value: object) -> Iterator[Data]:
        """Process the result of a task."""
        for message in _messages_in(value):
            yield from self.message(message)

    def _start(self, call: JsonMapping) -> Iterator[Data]:
        call_id = str(call.get("id"))
        if call_id not in self._started and call_id not in self._ended:
            self._started.add(call_id)
            yield {
                "event": "tool-started",
                "tool_call_id": call_id,
                "tool_name": call.get("name") or "",
                "input": call.get("args") or {},
            }

    def _end(self, call_id: str, message: JsonObject) -> Iterator[Data]:
        if call_id in self._ended:
            return
        yield from self._start(self._known.get(call_id) or {"id": call_id, "name": message.get("name")})
        self._ended.add(call_id)
        if message.get("status") == "error":
            yield {"event": "tool-error", "tool_call_id": call_id, "message": _text(message.get("content"))}
        else:
            yield {"event": "tool-finished", "tool_call_id": call_id, "output": slim_message(message)}


def tool_call_of(task: JsonMapping) -> str | None:
    """Return the id of the tool call for which a task was created; None if there is none."""
    if not _is_dispatch(task.get("input")):
        return None
    return next((call_id for call in _calls_of(task) if isinstance(call_id := call.get("id"), str)), None)


def _is_dispatch(given: object) -> bool:
    return isinstance(given, list) or (isinstance(given, dict) and isinstance(given.get("tool_call"), dict))


def _calls_of(task: JsonMapping) -> list[JsonMapping]:
    """Return the calls that a task received: one for itself, a list of them, or those of the last message of its
    state."""
    given = task.get("input")
    if isinstance(given, dict) and isinstance(given.get("tool_call"), dict):
        return [given["tool_call"]]
    if isinstance(given, list):
        return [call for call in given if isinstance(call, dict) and "args" in call and isinstance(call.get("id"), str)]
    messages = _messages_in(given)
    return [call for call in (messages[-1].get("tool_calls") if messages else None) or () if isinstance(call, dict)]


def _messages_in(value: object) -> list[JsonObject]:
    """Return the messages of a state or an update, in whatever channel they are."""
    if isinstance(value, dict):
        if is_message(value):
            return [value]
        return [one for channel in value.values() for one in _listed(channel)]
    return _listed(value)


def _listed(value: Any) -> list[JsonObject]:
    if is_message(value):
        return [value]
    return [one for one in value if is_message(one)] if isinstance(value, list) else []


def _text(content: object) -> str:
    if isinstance(content, list):
        return " ".join(str(block.get("text", "")) for block in content if isinstance(block, dict)).strip()
    return str(content)
