"""Callbacks that ask whether a model call may begin, and say when it has ended.

LangChain calls asynchronous handlers for asynchronous calls, and synchronous ones for both. A synchronous handler may
block only the thread of a synchronous call, so there are two: the first decides about asynchronous calls, and the
second about all others. Only the second raises, since it comes last. For an asynchronous call it runs in a thread,
together with the other handlers that are not inline: LangChain would never await them if it raised before.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Final, Protocol
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import BaseMessage

from ...json_types import JsonMapping
from ..types import ModelUsage
from .tokens import UNKNOWN_MODEL

_BYTES: Final = 3
"""Bytes of a prompt (UTF-8) that are one token, at least: a letter has one byte, and a Chinese character three."""
_MESSAGE: Final = 8
"""Tokens around each message, at most."""
_ANSWER: Final = 4_096
"""Tokens of an answer whose call names no limit."""
_ANSWER_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict")

_current: ContextVar[UUID | None] = ContextVar("runstead_model_call", default=None)
"""The latest call that this code began; another one that begins before its end is made by it, or for it."""


class CallGate(Protocol):
    """Decides about the model calls of an attempt. Callable from any thread and loop."""

    async def admit(self, call_id: UUID, wanted: ModelUsage, inside: UUID | None) -> Exception | None:
        """Return why the call may not begin; None if it may. ``inside`` is the call that makes it, if any."""
        ...

    def admit_blocking(self, call_id: UUID, wanted: ModelUsage, inside: UUID | None) -> Exception | None:
        """Do the same, and block the thread."""
        ...

    def ended(self, call_id: UUID) -> None:
        """Note the end of a call, which was admitted or not."""
        ...


class AsyncBudgetCallback(AsyncCallbackHandler):
    """Decides about asynchronous calls. It comes right before `BudgetCallback`, which raises what was decided."""

    run_inline = True

    def __init__(self, gate: CallGate) -> None:
        self._gate = gate
        self.decided: dict[UUID, Exception | None] = {}

    async def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: UUID, **kwargs: Any) -> None:
        await self._begin(run_id, messages[0] if messages else (), kwargs)

    async def on_llm_start(self, serialized: Any, prompts: Any, *, run_id: UUID, **kwargs: Any) -> None:
        await self._begin(run_id, prompts, kwargs)

    async def _begin(self, call_id: UUID, prompt: Sequence[BaseMessage | str], start: JsonMapping) -> None:
        # For a synchronous call, LangChain runs this after the other handler has decided.
        if call_id not in self.decided:
            self.decided[call_id] = await self._gate.admit(call_id, estimate(prompt, start), _current.get())
            if self.decided[call_id] is None:
                _current.set(call_id)


class BudgetCallback(BaseCallbackHandler):
    """Decides about synchronous calls, and raises what was decided about any."""

    raise_error = True

    def __init__(self, gate: CallGate, first: AsyncBudgetCallback) -> None:
        self._gate, self._decided = gate, first.decided

    def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._begin(run_id, messages[0] if messages else (), kwargs)

    def on_llm_start(self, serialized: Any, prompts: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._begin(run_id, prompts, kwargs)

    def on_llm_end(self, response: object, *, run_id: UUID, **kwargs: object) -> None:
        self._end(run_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: object) -> None:
        self._end(run_id)

    def _begin(self, call_id: UUID, prompt: Sequence[BaseMessage | str], start: JsonMapping) -> None:
        if call_id not in self._decided:
            wanted = estimate(prompt, start)
            self._decided[call_id] = self._gate.admit_blocking(call_id, wanted, _current.get())
        if (refused := self._decided[call_id]) is not None:
            raise refused
        _current.set(call_id)

    def _end(self, call_id: UUID) -> None:
        if self._decided.pop(call_id, None) is None:
            self._gate.ended(call_id)


def budget_callbacks(gate: CallGate) -> list[BaseCallbackHandler]:
    """Return both handlers, in their order. They come last among those of an attempt."""
    first = AsyncBudgetCallback(gate)
    return [first, BudgetCallback(gate, first)]


def estimate(prompt: Sequence[BaseMessage | str], start: JsonMapping) -> ModelUsage:
    """Return what a call may use: its prompt and tools by their length, and the limit of its answers."""
    asked: JsonMapping = start.get("invocation_params") or {}
    metadata: JsonMapping = start.get("metadata") or {}
    texts = [one if isinstance(one, str) else _text(one.content) + _text(_calls(one)) for one in prompt]
    read = sum(_tokens(text) + _MESSAGE for text in texts) + _tokens(_text(asked.get("tools")))
    limits = [asked.get(name) for name in _ANSWER_LIMITS] + [metadata.get("ls_max_tokens")]
    written = next((limit for limit in limits if isinstance(limit, int) and limit > 0), _ANSWER) * _answers(asked)
    model = str(metadata.get("ls_model_name") or UNKNOWN_MODEL)
    return ModelUsage(model, metadata.get("ls_provider"), "all", 1, read, written, read + written)


def _calls(message: BaseMessage) -> object:
    """Return the calls of tools in a message, which the model reads too."""
    return getattr(message, "tool_calls", None) or None


def _answers(asked: JsonMapping) -> int:
    """Return the number of answers that a call asks for."""
    count = asked.get("n")
    return count if isinstance(count, int) and count > 1 else 1


def _tokens(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass")) // _BYTES


def _text(content: object) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return json.dumps(content, default=str, ensure_ascii=False)
