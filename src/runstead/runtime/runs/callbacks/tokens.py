"""Token counts of a run's models by caller, and the first and last message of the conversation."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from runstead.runtime.converters import text_of

from ..types import RunCompletionData

Caller: TypeAlias = Literal["lead_agent", "subagent", "middleware"]

_MAX_TEXT: Final = 2_000


def caller_of(tags: Sequence[str] | None) -> str:
    """Return the caller of a model: the first tag among ``subagent:*``, ``middleware:*`` and ``lead_agent``, or by
    default the lead agent."""
    for tag in tags or ():
        if tag == "lead_agent" or tag.startswith(("subagent:", "middleware:")):
            return tag
    return "lead_agent"


class RunTokenCallback(BaseCallbackHandler):
    """Token usage in total. Calls may end on any thread and in parallel; each counts once."""

    run_inline = True

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callers: dict[UUID, str] = {}
        self._input = self._output = self._total = self._calls = self._messages = 0
        self._by: dict[Caller, int] = {"lead_agent": 0, "subagent": 0, "middleware": 0}
        self._first_human: str | None = None
        self._last_ai: str | None = None

    def saw_input(self, messages: Sequence[BaseMessage]) -> None:
        """Record the run's input messages."""
        with self._lock:
            self._messages += len(messages)
            first = next((text_of(m) for m in messages if isinstance(m, HumanMessage)), None)
            self._first_human = self._first_human or (first and first[:_MAX_TEXT])

    def on_chat_model_start(
        self, serialized: object, messages: object, *, run_id: UUID, tags: list[str] | None = None, **kwargs: object
    ) -> None:
        with self._lock:
            self._callers[run_id] = caller_of(tags)

    def on_llm_start(
        self, serialized: object, prompts: object, *, run_id: UUID, tags: list[str] | None = None, **kwargs: object
    ) -> None:
        with self._lock:
            self._callers[run_id] = caller_of(tags)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: object) -> None:
        with self._lock:
            self._callers.pop(run_id, None)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: object) -> None:
        with self._lock:
            # A call whose end was already counted, or whose start was never seen, does not belong to this run.
            caller = self._callers.pop(run_id, None)
            if caller is None:
                return
            self._calls += 1
            self._count(caller, response)

    def on_tool_end(self, output: object, **kwargs: object) -> None:
        with self._lock:
            self._messages += isinstance(output, BaseMessage)

    def completion_data(self) -> RunCompletionData:
        """Return the sums so far."""
        with self._lock:
            return RunCompletionData(
                total_input_tokens=self._input,
                total_output_tokens=self._output,
                total_tokens=self._total,
                llm_call_count=self._calls,
                lead_agent_tokens=self._by["lead_agent"],
                subagent_tokens=self._by["subagent"],
                middleware_tokens=self._by["middleware"],
                message_count=self._messages,
                last_ai_message=self._last_ai,
                first_human_message=self._first_human,
            )

    def _count(self, caller: str, response: LLMResult) -> None:
        group: Caller = "lead_agent"
        if caller.startswith("subagent:"):
            group = "subagent"
        elif caller.startswith("middleware:"):
            group = "middleware"
        for message in generated_messages(response):
            if usage := message.usage_metadata:
                self._input += usage.get("input_tokens", 0)
                self._output += usage.get("output_tokens", 0)
                self._total += usage.get("total_tokens", 0)
                self._by[group] += usage.get("total_tokens", 0)
            if group == "lead_agent":
                self._messages += 1
                if text := text_of(message):
                    self._last_ai = text[:_MAX_TEXT]


def generated_messages(response: LLMResult) -> list[AIMessage]:
    """Return the first candidate of each prompt; further candidates are unused alternatives."""
    return [
        generations[0].message
        for generations in response.generations
        if generations and isinstance(generations[0], ChatGeneration) and isinstance(generations[0].message, AIMessage)
    ]
