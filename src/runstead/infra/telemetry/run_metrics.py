"""Counters and histograms of what this process does: runs, requests, streams. Labels are few: no ids, no users."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from runstead.runtime.clock import Clock
from runstead.runtime.runs.types import Lease, RunRecord, ThreadId, ThreadStatus
from runstead.version import __version__

_WAITS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_RUNS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 7200)
_REQUESTS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_REMEMBERED: Final = 10_000
"""Threads whose last run's end is remembered, to tell waiting for a worker from waiting for that run."""
OTHER: Final = "other"
"""Label of graphs, routes and methods that are not known, so that callers cannot add series."""
_METHODS: Final = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "WEBSOCKET"))

_STATUSES: Final = ("success", "waiting", "error", "timeout", "interrupted", "dead_letter")
"""Statuses of ended runs; those that wait for input are ``waiting``."""


class RunMetrics:
    """RunTelemetry that counts, and counter of requests. Each server of a process has its own, in ``registry``."""

    def __init__(self, clock: Clock, graph_ids: Collection[str]) -> None:
        self._clock, self._graph_ids = clock, frozenset(graph_ids)
        self._last_end: OrderedDict[ThreadId, datetime] = OrderedDict()
        self.registry = registry = CollectorRegistry(auto_describe=True)
        counter, histogram = partial(Counter, registry=registry), partial(Histogram, registry=registry)
        info = Gauge("runstead_info", "Version of the server, as a label; always 1.", ["version"], registry=registry)
        info.labels(__version__).set(1)
        self._created = counter("runstead_runs_created", "Runs that this process accepted.", ["graph"])
        self._attempts = counter("runstead_run_attempts", "Attempts of runs that began in this process.", ["graph"])
        ended = f"Runs that this process ended: {', '.join(_STATUSES)}."
        self._ended = counter("runstead_runs_ended", ended, ["graph", "status"])
        lost = "Attempts of other processes that this process found lost: their worker is gone."
        self._lost = counter("runstead_attempts_lost", lost, ["graph"])
        wait = "Time from a run's due time to its first attempt, waiting for earlier runs of its thread included."
        self._wait = histogram("runstead_run_wait_seconds", wait, ["graph"], buckets=_WAITS)
        pickup = "The part of it in which the run waited for a worker only."
        self._pickup = histogram("runstead_run_pickup_seconds", pickup, ["graph"], buckets=_WAITS)
        duration = "Time from a run's first attempt to its end."
        self._duration = histogram("runstead_run_duration_seconds", duration, ["graph"], buckets=_RUNS)
        self._tokens = counter("runstead_tokens", "Tokens of ended runs: input, output.", ["graph", "kind"])
        self._gaps = counter("runstead_stream_gaps", "Gaps that readers of streams got instead of events.")
        self._requests = counter("runstead_http_requests", "Answered requests.", ["method", "route", "status"])
        latency = "Time until the end of an answer; of event streams, until its beginning."
        self._latency = histogram("runstead_http_request_seconds", latency, ["method", "route"], buckets=_REQUESTS)

        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Create the series of all graphs: Prometheus does not see an increase from nothing to 1, so that the first
        failure after a start would not count."""
        for graph in self._graph_ids:
            for one in (self._created, self._attempts, self._lost):
                one.labels(graph)
            for status in _STATUSES:
                self._ended.labels(graph, status)
            for kind in ("input", "output"):
                self._tokens.labels(graph, kind)

    def run_created(self, run: RunRecord) -> None:
        self._created.labels(self._graph(run)).inc()

    @asynccontextmanager
    async def around_attempt(self, lease: Lease) -> AsyncIterator[None]:
        run, graph = lease.run, self._graph(lease.run)
        self._attempts.labels(graph).inc()
        if lease.attempt == 1:
            now = self._clock.now()
            claimable_since = max(run.due_at, self._last_end.get(run.thread_id, run.due_at))
            self._wait.labels(graph).observe(max(0.0, (now - run.due_at).total_seconds()))
            self._pickup.labels(graph).observe(max(0.0, (now - claimable_since).total_seconds()))
        yield

    def call_observer(self) -> None:
        return None

    def run_ended(self, run: RunRecord, thread_status: ThreadStatus | None) -> None:
        graph, ended_at = self._graph(run), run.ended_at or self._clock.now()
        self._last_end[run.thread_id] = ended_at
        self._last_end.move_to_end(run.thread_id)
        if len(self._last_end) > _REMEMBERED:
            self._last_end.popitem(last=False)
        self._ended.labels(graph, status_of(run, thread_status)).inc()
        if run.started_at is not None:
            self._duration.labels(graph).observe(max(0.0, (ended_at - run.started_at).total_seconds()))
        if run.completion is not None:
            self._tokens.labels(graph, "input").inc(run.completion.total_input_tokens)
            self._tokens.labels(graph, "output").inc(run.completion.total_output_tokens)

    def attempt_lost(self, run: RunRecord) -> None:
        self._lost.labels(self._graph(run)).inc()

    def stream_gap(self, run: RunRecord) -> None:
        self._gaps.inc()

    def request(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count a request. ``route`` is the template of its path; None if no route matched."""
        method = method if method in _METHODS else OTHER
        self._requests.labels(method, route or OTHER, str(status)).inc()
        self._latency.labels(method, route or OTHER).observe(seconds)

    def _graph(self, run: RunRecord) -> str:
        return run.spec.graph_id if run.spec.graph_id in self._graph_ids else OTHER


def status_of(run: RunRecord, thread_status: ThreadStatus | None) -> str:
    """Return the status of an ended run for operators."""
    if run.dead_letter:
        return "dead_letter"
    return "waiting" if run.status == "success" and thread_status == "interrupted" else run.status.value
