"""Recorder of a run's events: lifecycle, traces of models and tools, messages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.outputs import LLMResult
from langgraph.errors import GraphBubbleUp

from runstead.runtime.converters import from_message, text_of
from runstead.runtime.serialization import jsonable

from ...json_types import JsonObject
from ..error_redaction import REDACTING, ErrorRedactor
from ..store.event_store import RunEvent, RunEventCategory
from ..types import RunId, ThreadId
from .tokens import caller_of, generated_messages


class RunEventCallback(BaseCallbackHandler):
    """Collector of events, which the executor takes in batches. Called from any thread; events are ordered by
    arrival."""

    run_inline = True

    def __init__(
        self, run_id: RunId, thread_id: ThreadId, now: Callable[[], datetime], texts: ErrorRedactor = REDACTING
    ) -> None:
        self._run_id, self._thread_id, self._now, self._texts = run_id, thread_id, now, texts
        self._lock = threading.Lock()
        self._pending: list[RunEvent] = []
        self._roots: set[UUID] = set()
        self._tools: dict[UUID, str] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def take(self) -> Sequence[RunEvent]:
        """Return the events since the last call."""
        with self._lock:
            taken, self._pending = self._pending, []
        return taken

    def put_back(self, events: Sequence[RunEvent]) -> None:
        """Return events that could not be stored to the front of the queue."""
        with self._lock:
            self._pending = [*events, *self._pending]

    def saw_input(self, messages: Sequence[BaseMessage]) -> None:
        """Record the run's input messages."""
        for message in messages:
            if message.type == "human":
                self._record("human_message", "message", from_message(message))

    def on_chain_start(
        self, serialized: object, inputs: object, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: object
    ) -> None:
        if parent_run_id is None:
            self._roots.add(run_id)
            self._record("run_start", "lifecycle", {"name": kwargs.get("name")})

    def on_chain_end(self, outputs: object, *, run_id: UUID, **kwargs: object) -> None:
        if run_id in self._roots:
            self._roots.discard(run_id)
            self._record("run_end", "lifecycle", {})

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: object) -> None:
        if run_id in self._roots and not isinstance(error, GraphBubbleUp):
            self._roots.discard(run_id)
            self._record(
                "run_error", "lifecycle", {"error": type(error).__name__, "message": self._texts.message(error)}
            )

    def on_chat_model_start(
        self,
        serialized: object,
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        **kwargs: object,
    ) -> None:
        content = {"call_id": str(run_id), "message_count": sum(map(len, messages))}
        self._record("llm_request", "trace", content, caller=caller_of(tags))

    def on_llm_start(
        self, serialized: object, prompts: list[str], *, run_id: UUID, tags: list[str] | None = None, **kwargs: object
    ) -> None:
        self._record("llm_request", "trace", {"call_id": str(run_id), "prompts": prompts}, caller=caller_of(tags))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, tags: list[str] | None = None, **kwargs: object) -> None:
        caller = caller_of(tags)
        for message in generated_messages(response):
            fields = from_message(message)
            self._record("llm_response", "trace", {"call_id": str(run_id), "message": fields}, caller=caller)
            if message.tool_calls:
                self._record("ai_tool_call", "message", fields, caller=caller)
            elif text_of(message):
                self._record("ai_message", "message", fields, caller=caller)

    def on_llm_error(
        self, error: BaseException, *, run_id: UUID, tags: list[str] | None = None, **kwargs: object
    ) -> None:
        content = {"call_id": str(run_id), "error": type(error).__name__, "message": self._texts.message(error)}
        self._record("llm_error", "trace", content, caller=caller_of(tags))

    def on_tool_start(
        self, serialized: Any, input_str: str, *, run_id: UUID, inputs: JsonObject | None = None, **kwargs: Any
    ) -> None:
        name = str((serialized or {}).get("name") or kwargs.get("name") or "tool")
        self._tools[run_id] = name
        arguments = jsonable(inputs if inputs is not None else input_str)
        self._record("tool_start", "trace", {"call_id": str(run_id), "name": name, "input": arguments})

    def on_tool_end(self, output: object, *, run_id: UUID, **kwargs: object) -> None:
        name = self._tools.pop(run_id, "tool")
        shown = from_message(output) if isinstance(output, BaseMessage) else jsonable(output)
        self._record("tool_end", "trace", {"call_id": str(run_id), "name": name, "output": shown})
        if isinstance(output, ToolMessage):
            self._record("tool_result", "message", shown)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: object) -> None:
        name = self._tools.pop(run_id, "tool")
        # A tool that asks a human has not failed: LangGraph raises an interrupt as an exception.
        if isinstance(error, GraphBubbleUp):
            return
        content = {
            "call_id": str(run_id),
            "name": name,
            "error": type(error).__name__,
            "message": self._texts.message(error),
        }
        self._record("tool_error", "trace", content)

    def on_custom_event(self, name: str, data: object, **kwargs: object) -> None:
        self._record("custom", "trace", {"name": name, "data": jsonable(data)})

    def _record(self, event_type: str, category: RunEventCategory, content: object, **metadata: object) -> None:
        event = RunEvent(self._run_id, self._thread_id, event_type, category, content, self._now(), metadata)
        with self._lock:
            self._pending.append(event)
