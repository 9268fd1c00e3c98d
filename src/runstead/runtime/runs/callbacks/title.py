"""Finds the thread's title: what a title middleware's model said, or a custom event that carries a title."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import LLMResult

from runstead.runtime.converters import text_of

from .callers import Attribution, is_title_caller
from .tokens import generated_messages

MAX_TITLE: Final = 200
"""Characters of a title that are kept."""

TITLE_EVENTS: Final = frozenset(("title", "thread_title", "middleware:title"))
"""Names of custom events that carry a title, as a text or under ``title``."""


class RunTitleCallback(BaseCallbackHandler):
    """Remembers the last title seen. One from a custom event counts more than what a model said."""

    run_inline = True

    def __init__(self, attribution: Attribution | None = None) -> None:
        self._attribution = attribution or Attribution()
        self._calls: set[UUID] = set()
        self._said: str | None = None
        self._given: str | None = None

    @property
    def title(self) -> str | None:
        """The title found so far."""
        return self._given or self._said

    def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: UUID, **kwargs: Any) -> None:
        if is_title_caller(self._attribution.caller_of(kwargs.get("tags"), kwargs.get("metadata"))):
            self._calls.add(run_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: object) -> None:
        self._calls.discard(run_id)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: object) -> None:
        if run_id in self._calls:
            self._calls.discard(run_id)
            for message in generated_messages(response):
                self._said = _clean(text_of(message)) or self._said

    def on_custom_event(self, name: str, data: object, **kwargs: object) -> None:
        if name in TITLE_EVENTS:
            self._given = _clean(data.get("title") if isinstance(data, dict) else data) or self._given


def _clean(title: object) -> str | None:
    if not isinstance(title, str):
        return None
    return title.strip().strip("\"'").strip()[:MAX_TITLE] or None
