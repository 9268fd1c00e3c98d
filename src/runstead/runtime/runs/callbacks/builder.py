"""Creates the callbacks of one attempt, and gathers what they collected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage

from ..error_redaction import REDACTING, ErrorRedactor
from ..telemetry import CallObserver
from ..types import ModelUsage, RunCompletionData, RunId, ThreadId
from .callers import Attribution
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
        cls,
        run_id: RunId,
        thread_id: ThreadId,
        now: Callable[[], datetime],
        texts: ErrorRedactor = REDACTING,
        *,
        attempt: int = 1,
        before: RunCompletionData | None = None,
        calls: CallObserver | None = None,
    ) -> RunCallbacks:
        """Create the callbacks of an attempt. ``before`` is what the run's earlier attempts came to."""
        # One for all three: what counts as the lead's is also what is said in the conversation.
        attribution = Attribution()
        return cls(
            RunEventCallback(run_id, thread_id, now, texts, attribution=attribution, attempt=attempt, calls=calls),
            RunTokenCallback(attribution, before),
            RunTitleCallback(attribution),
        )

    def handlers(self) -> list[BaseCallbackHandler]:
        """For LangChain's ``callbacks``."""
        return [self.events, self.tokens, self.titles]

    def saw_input(self, messages: Sequence[BaseMessage]) -> None:
        """Record the messages that the run was given, which no callback reports."""
        self.events.saw_input(messages)
        self.tokens.saw_input(messages)

    def completion_data(self) -> RunCompletionData:
        return self.tokens.completion_data()

    def usage(self) -> tuple[ModelUsage, ...]:
        """Return the usage of this attempt so far."""
        return self.tokens.usage()

    @property
    def title(self) -> str | None:
        return self.titles.title
