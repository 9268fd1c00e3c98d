"""Records what happens inside a run, as run events: lifecycle, traces of models and tools, messages.

The types of events and their fields are listed in docs/run-events.md.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import LLMResult
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command

from runstead.runtime.converters import from_message, text_of
from runstead.runtime.serialization import jsonable

from ...json_types import JsonMapping, JsonObject
from ..error_redaction import REDACTING, ErrorRedactor
from ..store.event_store import RunEvent, RunEventCategory
from ..telemetry import CallObserver, ModelAnswer
from ..types import RunId, StopReason, ThreadId
from .bounds import bounded
from .callers import LEAD, Attribution, group_of
from .tokens import generated_messages

EVENT_TYPES: Final[Mapping[str, RunEventCategory]] = {
    "run_start": "lifecycle",
    "run_end": "lifecycle",
    "run_error": "lifecycle",
    "run_stopped": "lifecycle",
    "budget_warning": "lifecycle",
    "budget_exceeded": "lifecycle",
    "steering": "lifecycle",
    "node_start": "trace",
    "llm_request": "trace",
    "llm_response": "trace",
    "llm_error": "trace",
    "llm_stopped": "trace",
    "tool_start": "trace",
    "tool_end": "trace",
    "tool_error": "trace",
    "tool_stopped": "trace",
    "custom": "trace",
    "human_message": "message",
    "ai_message": "message",
    "ai_tool_call": "message",
    "tool_result": "message",
}
"""All types of events, with their category. A message that is not the lead agent's is a trace."""
_FINISH: Final = ("finish_reason", "stop_reason", "done_reason")
"""Names that providers have for the reason why an answer ended."""


def _ignore() -> None:
    return


class RunEventCallback(BaseCallbackHandler):
    """Collects events; the executor takes them in batches. Called on any thread, so the order is that of arrival.

    ``on_pending`` is called, on any thread, when there is something to take after there was nothing.
    """

    run_inline = True

    def __init__(
        self,
        run_id: RunId,
        thread_id: ThreadId,
        now: Callable[[], datetime],
        texts: ErrorRedactor = REDACTING,
        *,
        attribution: Attribution | None = None,
        attempt: int = 1,
        calls: CallObserver | None = None,
    ) -> None:
        self._run_id, self._thread_id, self._now, self._texts = run_id, thread_id, now, texts
        self._attribution, self._attempt = attribution or Attribution(), attempt
        # Reported here, and by no callback of its own: that would be called for each token.
        self._calls = calls
        self._lock = threading.Lock()
        self._pending: list[RunEvent] = []
        self._roots: set[UUID] = set()
        self._callers: dict[UUID, str] = {}
        self._tools: dict[UUID, str] = {}
        self._stop: StopReason | None = None
        self._has_ended = False
        self.on_pending: Callable[[], None] = _ignore

    def __len__(self) -> int:
        return len(self._pending)

    def take(self) -> Sequence[RunEvent]:
        """Return the events since the last call."""
        with self._lock:
            taken, self._pending = self._pending, []
        return taken

    def put_back(self, events: Sequence[RunEvent]) -> None:
        """Keep what could not be stored, before everything newer."""
        with self._lock:
            self._pending = [*events, *self._pending]

    def saw_input(self, messages: Sequence[BaseMessage]) -> None:
        """Record the messages that the run was given."""
        for message in messages:
            if message.type == "human":
                self._record("human_message", from_message(message))

    def note(self, event_type: str, content: JsonMapping) -> None:
        """Record an event of the runtime's own."""
        self._record(event_type, content)

    def stopping(self, reason: StopReason) -> None:
        """Note that the attempt is being stopped: what is cut off from now on has not failed."""
        self._stop = self._stop or reason

    def close(self, error: BaseException | None = None) -> None:
        """Record the end of an attempt whose graph did not report one: it was abandoned, or never opened."""
        if self._has_ended:
            return
        if self._roots and self._stop is not None:
            self._ended("run_stopped", {"reason": self._stop.value})
        elif error is not None:
            self._ended("run_error", self._failure(error))

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        name, metadata = kwargs.get("name"), kwargs.get("metadata") or {}
        if parent_run_id is None:
            self._attribution.root_started(kwargs.get("tags"), metadata)
            self._roots.add(run_id)
            self._record("run_start", {"name": name})
        elif parent_run_id in self._roots and name is not None and name == metadata.get("langgraph_node"):
            self._record("node_start", {"node": name, "step": metadata.get("langgraph_step")})

    def on_chain_end(self, outputs: object, *, run_id: UUID, **kwargs: object) -> None:
        if run_id in self._roots:
            self._roots.discard(run_id)
            self._ended("run_end", {})

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: object) -> None:
        if run_id not in self._roots or isinstance(error, GraphBubbleUp):
            return
        self._roots.discard(run_id)
        if self._is_cut_off(error):
            self._ended("run_stopped", {"reason": self._reason})
        else:
            self._ended("run_error", self._failure(error))

    def on_chat_model_start(
        self, serialized: object, messages: list[list[BaseMessage]], *, run_id: UUID, **kwargs: object
    ) -> None:
        self._asked(run_id, {"message_count": sum(map(len, messages))}, kwargs)

    def on_llm_start(self, serialized: object, prompts: list[str], *, run_id: UUID, **kwargs: object) -> None:
        self._asked(run_id, {"prompts": prompts}, kwargs)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: object) -> None:
        caller, messages = self._callers.pop(run_id, LEAD), generated_messages(response)
        if self._calls is not None:
            self._calls.model_answered(run_id, _answer_of(messages))
        for message in messages:
            fields = from_message(message)
            self._record("llm_response", {"call_id": str(run_id), "message": fields}, caller)
            if message.tool_calls:
                self._record("ai_tool_call", fields, caller)
            elif text_of(message):
                self._record("ai_message", fields, caller)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: object) -> None:
        caller = self._callers.pop(run_id, LEAD)
        self._call_failed(run_id, error)
        if self._is_cut_off(error):
            self._record("llm_stopped", {"call_id": str(run_id), "reason": self._reason}, caller)
        else:
            self._record("llm_error", {"call_id": str(run_id), **self._failure(error)}, caller)

    def on_tool_start(
        self, serialized: Any, input_str: str, *, run_id: UUID, inputs: JsonObject | None = None, **kwargs: Any
    ) -> None:
        name = str((serialized or {}).get("name") or kwargs.get("name") or "tool")
        caller = self._attribution.caller_of(kwargs.get("tags"), kwargs.get("metadata"))
        self._tools[run_id], self._callers[run_id] = name, caller
        if self._calls is not None:
            self._calls.tool_called(run_id, name)
        arguments = jsonable(inputs if inputs is not None else input_str)
        self._record("tool_start", {"call_id": str(run_id), "name": name, "input": arguments}, caller)

    def on_tool_end(self, output: object, *, run_id: UUID, **kwargs: object) -> None:
        name, caller = self._tools.pop(run_id, "tool"), self._callers.pop(run_id, LEAD)
        if self._calls is not None:
            self._calls.tool_answered(run_id)
        results = _results_of(output)
        shown = from_message(output) if isinstance(output, BaseMessage) else jsonable(output)
        self._record("tool_end", {"call_id": str(run_id), "name": name, "output": shown}, caller)
        for message in results:
            self._record("tool_result", from_message(message), caller)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: object) -> None:
        name, caller = self._tools.pop(run_id, "tool"), self._callers.pop(run_id, LEAD)
        self._call_failed(run_id, error)
        # A tool that asks a human has not failed: LangGraph lets an interrupt travel as an exception.
        if isinstance(error, GraphBubbleUp):
            return
        call = {"call_id": str(run_id), "name": name}
        if self._is_cut_off(error):
            self._record("tool_stopped", {**call, "reason": self._reason}, caller)
        else:
            self._record("tool_error", {**call, **self._failure(error)}, caller)

    def on_custom_event(self, name: str, data: object, **kwargs: object) -> None:
        self._record("custom", {"name": name, "data": jsonable(data)})

    @property
    def _reason(self) -> str | None:
        return None if self._stop is None else self._stop.value

    def _is_cut_off(self, error: BaseException) -> bool:
        return self._stop is not None and isinstance(error, asyncio.CancelledError)

    def _failure(self, error: BaseException) -> dict[str, str]:
        return {"error": type(error).__name__, "message": self._texts.message(error)}

    def _asked(self, run_id: UUID, content: JsonMapping, start: JsonMapping) -> None:
        caller = self._attribution.caller_of(start.get("tags"), start.get("metadata"))
        self._callers[run_id] = caller
        described = start.get("metadata") or {}
        model = described.get("ls_model_name")
        if self._calls is not None:
            self._calls.model_called(run_id, model, described.get("ls_provider"))
        self._record("llm_request", {"call_id": str(run_id), "model": model, **content}, caller)

    def _call_failed(self, run_id: UUID, error: BaseException) -> None:
        if self._calls is not None:
            has_failed = not isinstance(error, GraphBubbleUp) and not self._is_cut_off(error)
            self._calls.call_failed(run_id, error if has_failed else None)

    def _ended(self, event_type: str, content: JsonMapping) -> None:
        self._has_ended = True
        self._record(event_type, content)

    def _record(self, event_type: str, content: object, caller: str | None = None) -> None:
        kept, size = bounded(content)
        category = EVENT_TYPES[event_type]
        if category == "message" and caller is not None and group_of(caller) != LEAD:
            category = "trace"
        metadata: JsonObject = {"attempt": self._attempt}
        metadata |= {} if caller is None else {"caller": caller}
        metadata |= {} if size is None else {"content_bytes": size}
        event = RunEvent(self._run_id, self._thread_id, event_type, category, kept, self._now(), metadata)
        with self._lock:
            self._pending.append(event)
            is_first = len(self._pending) == 1
        if is_first:
            self.on_pending()


def _answer_of(messages: Sequence[AIMessage]) -> ModelAnswer:
    """Return what the provider reports about the first message."""
    if not messages:
        return ModelAnswer()
    usage, described = messages[0].usage_metadata, messages[0].response_metadata
    return ModelAnswer(
        model=described.get("model_name") or described.get("model"),
        finish_reason=next((str(described[name]) for name in _FINISH if described.get(name)), None),
        input_tokens=usage["input_tokens"] if usage else None,
        output_tokens=usage["output_tokens"] if usage else None,
    )


def _results_of(output: object) -> list[ToolMessage]:
    """Return the messages that a tool's output adds to the conversation."""
    if isinstance(output, ToolMessage):
        return [output]
    update = output.update if isinstance(output, Command) else None
    messages = update.get("messages") if isinstance(update, Mapping) else None
    return [one for one in messages if isinstance(one, ToolMessage)] if isinstance(messages, list) else []
