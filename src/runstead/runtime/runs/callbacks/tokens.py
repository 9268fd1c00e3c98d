"""Counts what an attempt's models use, by model and by who called them, and what was said first and last."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from runstead.runtime.converters import text_of

from ...json_types import JsonObject
from ..types import ModelUsage, RunCompletionData
from .callers import Attribution, group_of

MAX_TEXT: Final = 2_000
"""Characters of the first and the last message that are kept."""
UNKNOWN_MODEL: Final = "unknown"


@dataclass(frozen=True, slots=True)
class _Call:
    caller: str
    model: str
    provider: str | None


class RunTokenCallback(BaseCallbackHandler):
    """Aggregates token usage. Calls may end on any thread, in parallel; each counts once.

    ``before`` is what earlier attempts of the run came to; `completion_data` adds to it, `usage` does not.
    """

    run_inline = True

    def __init__(self, attribution: Attribution | None = None, before: RunCompletionData | None = None) -> None:
        self._attribution = attribution or Attribution()
        self._before = before or RunCompletionData()
        self._lock = threading.Lock()
        self._calls: dict[UUID, _Call] = {}
        self._usage: dict[tuple[str, str | None, str], ModelUsage] = {}
        self._messages = 0
        self._first_human: str | None = None
        self._last_ai: str | None = None
        self._last_subagent: str | None = None
        self.changes = 0
        """Number of counts."""

    def saw_input(self, messages: Sequence[BaseMessage]) -> None:
        """Count the messages that the run was given."""
        with self._lock:
            self._messages += len(messages)
            first = next((text_of(m) for m in messages if isinstance(m, HumanMessage)), None)
            self._first_human = self._first_human or (first and first[:MAX_TEXT])

    def on_chat_model_start(self, serialized: object, messages: object, *, run_id: UUID, **kwargs: object) -> None:
        self._begin(run_id, kwargs)

    def on_llm_start(self, serialized: object, prompts: object, *, run_id: UUID, **kwargs: object) -> None:
        self._begin(run_id, kwargs)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: object) -> None:
        with self._lock:
            self._calls.pop(run_id, None)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: object) -> None:
        with self._lock:
            # A call whose end was counted already, or whose start was never seen, is no call of this run's.
            call = self._calls.pop(run_id, None)
            if call is not None:
                self._count(call, response)

    def on_tool_end(self, output: object, **kwargs: object) -> None:
        with self._lock:
            self._messages += isinstance(output, BaseMessage)

    def usage(self) -> tuple[ModelUsage, ...]:
        """Return the usage of this attempt so far."""
        with self._lock:
            return tuple(self._usage.values())

    def completion_data(self) -> RunCompletionData:
        """Return the sums so far, over all attempts."""
        with self._lock:
            # Where no agent leads, as in a graph whose nodes are agents, these are the ones that speak.
            has_lead = any(one.caller == "lead_agent" for one in self._usage.values())
            return self._before.plus(
                self._usage.values(),
                self._messages,
                last_ai_message=self._last_ai if has_lead else self._last_subagent,
                first_human_message=self._first_human,
            )

    def _begin(self, run_id: UUID, start: JsonObject) -> None:
        metadata = start.get("metadata") or {}
        caller = self._attribution.caller_of(start.get("tags"), metadata)
        model = str(metadata.get("ls_model_name") or UNKNOWN_MODEL)
        with self._lock:
            self._calls[run_id] = _Call(caller, model, metadata.get("ls_provider"))

    def _count(self, call: _Call, response: LLMResult) -> None:
        self.changes += 1
        group = group_of(call.caller)
        messages = generated_messages(response)
        model = _model_of(messages, response) or call.model
        key = (model, call.provider, group)
        before = self._usage.get(key) or ModelUsage(model, call.provider, group)
        self._usage[key] = replace(before, calls=before.calls + 1)
        for message in messages:
            self._usage[key] = _plus(self._usage[key], message)
            text = text_of(message)[:MAX_TEXT] or None
            if group == "lead_agent":
                self._messages += 1
                self._last_ai = text or self._last_ai
            elif group == "subagent":
                self._last_subagent = text or self._last_subagent


def _plus(before: ModelUsage, message: AIMessage) -> ModelUsage:
    usage = message.usage_metadata
    if not usage:
        return before
    read, made = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
    return replace(
        before,
        input_tokens=before.input_tokens + (usage.get("input_tokens") or 0),
        output_tokens=before.output_tokens + (usage.get("output_tokens") or 0),
        total_tokens=before.total_tokens + (usage.get("total_tokens") or 0),
        cache_read_tokens=before.cache_read_tokens + (read.get("cache_read") or 0),
        cache_write_tokens=before.cache_write_tokens + (read.get("cache_creation") or 0),
        reasoning_tokens=before.reasoning_tokens + (made.get("reasoning") or 0),
    )


def _model_of(messages: Sequence[AIMessage], response: LLMResult) -> str | None:
    """Return the model that answered, as the provider names it."""
    places = [message.response_metadata for message in messages] + [response.llm_output or {}]
    for place in places:
        if found := place.get("model_name") or place.get("model"):
            return str(found)
    return None


def generated_messages(response: LLMResult) -> list[AIMessage]:
    """Return the first candidate of each prompt; further ones are alternatives that were not said."""
    return [
        generations[0].message
        for generations in response.generations
        if generations and isinstance(generations[0], ChatGeneration) and isinstance(generations[0].message, AIMessage)
    ]
