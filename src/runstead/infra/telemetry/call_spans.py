"""Spans of the calls of models and tools in an attempt, by the conventions for generative AI.

They have no contents. A call costs two short methods, whatever its number of tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

from runstead.runtime.runs.telemetry import ModelAnswer

_PROVIDERS: Final[Mapping[str, str]] = {
    "amazon_bedrock": "aws.bedrock",
    "azure": "azure.ai.openai",
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
}
"""Names in the conventions of providers that LangChain names differently."""


class CallSpans:
    """CallObserver that makes a span of each call, inside the span of its attempt."""

    def __init__(self, tracer: Tracer, parent: Context, conversation: str) -> None:
        self._tracer, self._parent, self._conversation = tracer, parent, conversation
        self._open: dict[UUID, Span] = {}

    def model_called(self, call_id: UUID, model: str | None, provider: str | None) -> None:
        attributes: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.conversation.id": self._conversation,
        }
        if model is not None:
            attributes["gen_ai.request.model"] = model
        if provider is not None:
            attributes["gen_ai.provider.name"] = _PROVIDERS.get(provider, provider)
        self._begin(call_id, "chat" if model is None else f"chat {model}", SpanKind.CLIENT, attributes)

    def model_answered(self, call_id: UUID, answer: ModelAnswer) -> None:
        if (span := self._open.pop(call_id, None)) is None:
            return
        if answer.model is not None:
            span.set_attribute("gen_ai.response.model", answer.model)
        if answer.finish_reason is not None:
            span.set_attribute("gen_ai.response.finish_reasons", (answer.finish_reason,))
        if answer.input_tokens is not None:
            span.set_attribute("gen_ai.usage.input_tokens", answer.input_tokens)
        if answer.output_tokens is not None:
            span.set_attribute("gen_ai.usage.output_tokens", answer.output_tokens)
        span.end()

    def tool_called(self, call_id: UUID, name: str) -> None:
        attributes: dict[str, AttributeValue] = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
        self._begin(call_id, f"execute_tool {name}", SpanKind.INTERNAL, attributes)

    def tool_answered(self, call_id: UUID) -> None:
        self.call_failed(call_id, None)

    def call_failed(self, call_id: UUID, error: BaseException | None) -> None:
        if (span := self._open.pop(call_id, None)) is None:
            return
        if error is not None:
            # Its class only: the message may contain the user's data.
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
        span.end()

    def _begin(self, call_id: UUID, name: str, kind: SpanKind, attributes: dict[str, AttributeValue]) -> None:
        self._open[call_id] = self._tracer.start_span(name, self._parent, kind, attributes)
