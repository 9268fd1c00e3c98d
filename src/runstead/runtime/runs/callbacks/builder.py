"""Callbacks of one attempt, and the data that they collected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage

from ..error_redaction import REDACTING, ErrorRedactor
from ..types import RunCompletionData, RunId, ThreadId
from .events import RunEventCallback
from .title import RunTitleCallback
from .tokens import RunTokenCallback


@dataclass(frozen=True, slots=True)
class RunCallbacks:
    """The three callbacks of one attempt."""

    events: RunEventCallback
    tokens: RunTokenCallback
    titles: RunTitleCallback

    @classmethod
    def build(
        cls, run_id: RunId, thread_id: ThreadId, now: Callable[[], datetime], texts: ErrorRedactor = REDACTING
    ) -> RunCallbacks:
        return cls(RunEventCallback(run_id, thread_id, now, texts), RunTokenCallback(), RunTitleCallback())

    def handlers(self) -> list[BaseCallbackHandler]:
        """Return the handlers for LangChain's ``callbacks``."""
        return [self.events, self.tokens, self.titles]

    def saw_input(self, messages: Sequence[BaseMessage]) -> None:
        """Record the run's input messages, for which the graph itself emits no event."""
        self.events.saw_input(messages)
        self.tokens.saw_input(messages)

    def completion_data(self) -> RunCompletionData:
        return self.tokens.completion_data()

    @property
    def title(self) -> str | None:
        return self.titles.title
