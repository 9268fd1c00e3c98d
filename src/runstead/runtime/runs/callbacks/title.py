"""Detection of a thread's title: the output of a title middleware's model, or a custom event named ``title``."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import LLMResult

from runstead.runtime.converters import text_of

from .tokens import generated_messages

MAX_TITLE: Final = 200
"""Maximum number of characters kept of a title."""


class RunTitleCallback(BaseCallbackHandler):
    """Callback that keeps the last title seen."""

    run_inline = True

    def __init__(self) -> None:
        self._calls: set[UUID] = set()
        self.title: str | None = None

    def on_chat_model_start(
        self, serialized: object, messages: object, *, run_id: UUID, tags: list[str] | None = None, **kwargs: object
    ) -> None:
        if "middleware:title" in (tags or ()):
            self._calls.add(run_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: object) -> None:
        self._calls.discard(run_id)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: object) -> None:
        if run_id in self._calls:
            self._calls.discard(run_id)
            for message in generated_messages(response):
                self._keep(text_of(message))

    def on_custom_event(self, name: str, data: object, **kwargs: object) -> None:
        if name == "title":
            self._keep(data.get("title") if isinstance(data, dict) else data)

    def _keep(self, title: object) -> None:
        if isinstance(title, str) and (title := title.strip().strip("\"'").strip()):
            self.title = title[:MAX_TITLE]
