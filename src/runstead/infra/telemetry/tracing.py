"""Traces by OpenTelemetry: one trace from a request over the queue to every attempt of its run.

A run stores the trace context of the request that created it. Each attempt, in whatever process, continues that trace.
What is traced inside an attempt depends on the level: see `TraceLevel`. Imported only if traces are on.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Final, Literal, TypeAlias

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from runstead.runtime.clock import Clock
from runstead.runtime.runs.redaction import CONTINUED, TRACEPARENT, TRACESTATE
from runstead.runtime.runs.types import Lease, RunRecord, ThreadStatus
from runstead.version import __version__

from .call_spans import CallSpans
from .run_metrics import status_of

TraceLevel: TypeAlias = Literal["runs", "calls", "all"]
"""Spans to make: of requests and attempts of runs; also of calls of models and tools; or also of agents, retrievers and
with contents, by opentelemetry-instrumentation-genai-langchain."""

_CONTENTS: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_KEYS: Final = {"traceparent": TRACEPARENT, "tracestate": TRACESTATE}
_W3C: Final = TraceContextTextMapPropagator()
_FLUSH_MILLISECONDS: Final = 5_000

_attempt: ContextVar[Span | None] = ContextVar("runstead_attempt_span", default=None)
_conversation: ContextVar[str] = ContextVar("runstead_attempt_conversation", default="")


class Tracing:
    """RunTelemetry that traces, and tracer of requests."""

    def __init__(self, tracer: trace.Tracer, clock: Clock, *, calls: bool) -> None:
        """``calls``: make spans of the calls of models and tools."""
        self._tracer, self._clock, self._calls = tracer, clock, calls

    def run_created(self, run: RunRecord) -> None:
        span = trace.get_current_span()
        if span.is_recording():
            span.add_event("run created", {"runstead.run.id": str(run.run_id)})

    @asynccontextmanager
    async def around_attempt(self, lease: Lease) -> AsyncIterator[None]:
        run = lease.run
        configurable: Mapping[str, object] = run.spec.config.get("configurable", {})
        parent = _W3C.extract({name: str(configurable[key]) for name, key in _KEYS.items() if key in configurable})
        attributes: dict[str, AttributeValue] = {
            "runstead.run.id": str(run.run_id),
            "runstead.run.attempt": lease.attempt,
            "runstead.graph": run.spec.graph_id,
            "gen_ai.conversation.id": str(run.thread_id),
        }
        if lease.attempt == 1:
            # Ended at once, so that it is exported although the worker may die.
            due = int(run.due_at.timestamp() * 1e9)
            name = f"queue {run.spec.graph_id}"
            queued = self._tracer.start_span(name, parent, attributes=attributes, start_time=due)
            queued.end(max(due, int(self._clock.now().timestamp() * 1e9)))
        links = _links(configurable.get(CONTINUED))
        with self._tracer.start_as_current_span(
            f"run {run.spec.graph_id}", parent, kind=SpanKind.CONSUMER, attributes=attributes, links=links
        ) as span:
            token, conversation = _attempt.set(span), _conversation.set(str(run.thread_id))
            try:
                yield
            finally:
                _attempt.reset(token)
                _conversation.reset(conversation)

    def call_observer(self) -> CallSpans | None:
        # An attempt that is not sampled has no spans, and calls of it cost nothing.
        if not self._calls or (span := _attempt.get()) is None or not span.is_recording():
            return None
        return CallSpans(self._tracer, trace.set_span_in_context(span), _conversation.get())

    def run_ended(self, run: RunRecord, thread_status: ThreadStatus | None) -> None:
        if (span := _attempt.get()) is None:
            return
        span.set_attribute("runstead.run.status", status_of(run, thread_status))
        if run.completion is not None:
            span.set_attribute("gen_ai.usage.input_tokens", run.completion.total_input_tokens)
            span.set_attribute("gen_ai.usage.output_tokens", run.completion.total_output_tokens)
        if run.failure is not None:
            # Its class only: the message may contain the user's data.
            span.set_attribute("error.type", run.failure.error)
            span.set_status(StatusCode.ERROR)

    def attempt_lost(self, run: RunRecord) -> None:
        return

    def stream_gap(self, run: RunRecord) -> None:
        return

    @contextmanager
    def around_request(self, method: str, headers: Mapping[str, str]) -> Iterator[RequestSpan]:
        """Trace a request as a part of the trace that its header ``traceparent`` names, if it has one."""
        parent = _W3C.extract(headers)
        attributes: dict[str, AttributeValue] = {"http.request.method": method}
        with self._tracer.start_as_current_span(method, parent, kind=SpanKind.SERVER, attributes=attributes) as span:
            yield RequestSpan(span)


class RequestSpan:
    """Span of a request that is being answered."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def origin(self) -> Mapping[str, str]:
        """The trace context, under the keys of a run's configurable."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return {_KEYS[name]: value for name, value in carrier.items() if name in _KEYS}

    def answered(self, method: str, route: str | None, status: int) -> None:
        """Record the answer, before the span ends."""
        if route is not None:
            self._span.update_name(f"{method} {route}")
            self._span.set_attribute("http.route", route)
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)


def _links(traceparent: object) -> list[Link]:
    """Return a link to the trace of the run that a run continues."""
    if not isinstance(traceparent, str):
        return []
    context = trace.get_current_span(_W3C.extract({"traceparent": traceparent})).get_span_context()
    return [Link(context, {"runstead.link": "continues"})] if context.is_valid else []


@contextmanager
def tracing(clock: Clock, level: TraceLevel, *, contents: bool) -> Iterator[Tracing]:
    """Trace for the duration of a block.

    The provider of the process is used if it has one; otherwise one that exports by OTLP, as the OTEL_* variables say.
    ``contents``: spans have the texts of messages, of tools' arguments and results; only at the level ``all``.
    """
    provider, own = trace.get_tracer_provider(), None
    if isinstance(provider, trace.ProxyTracerProvider):
        resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "runstead")})
        provider = own = TracerProvider(resource=resource)
        own.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(own)
    with _instrumented(provider, contents) if level == "all" else nullcontext():
        try:
            yield Tracing(provider.get_tracer("runstead", __version__), clock, calls=level == "calls")
        finally:
            if own is not None:
                # Not shut down: the provider of a process cannot be replaced, and another server may follow.
                own.force_flush(_FLUSH_MILLISECONDS)


@contextmanager
def _instrumented(provider: trace.TracerProvider, contents: bool) -> Iterator[None]:
    """Trace models, tools and agents for the duration of a block, unless the process does so already."""
    from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor

    before = os.environ.get(_CONTENTS)
    if contents and before is None:
        os.environ[_CONTENTS] = "SPAN_ONLY"
    instrumentor = LangChainInstrumentor()  # type: ignore[no-untyped-call]
    is_ours = not instrumentor.is_instrumented_by_opentelemetry
    if is_ours:
        instrumentor.instrument(tracer_provider=provider)
        if (handler := instrumentor._callback_handler) is not None:
            # Otherwise LangChain calls it in a thread for each token, which costs more than the rest of a run.
            handler.run_inline = True
    try:
        yield
    finally:
        if is_ours:
            instrumentor.uninstrument()
        if contents and before is None:
            del os.environ[_CONTENTS]
