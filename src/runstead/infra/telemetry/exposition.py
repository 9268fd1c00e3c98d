"""Metrics in the text format of Prometheus, and as JSON in the reference server's form.

Counters of this process come from `run_metrics`. What is stored, and what other components hold, is read when the
metrics are requested, at most every few seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from runstead.infra.engines.figures import PoolFigures
from runstead.infra.storage.queue_figures import QueueFigures
from runstead.infra.storage.sizes import DatabaseSize
from runstead.runtime.clock import Clock
from runstead.runtime.json_types import JsonObject
from runstead.runtime.stream_bridge.figures import StreamFigures
from runstead.runtime.user_code.watchdog import BlockCount

from .run_metrics import RunMetrics

_log = logging.getLogger(__name__)

_FRESH: Final = 5.0
"""Seconds for which figures of the storage are reused: several scrapers cost no more than one."""
_SIZES_FRESH: Final = 60.0
_PROCESS: Final = (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR)


@dataclass(frozen=True, slots=True)
class MetricSources:
    """Sources of figures, besides the counters. ``slots``: all, and those that execute a run."""

    queue: Callable[[], Awaitable[QueueFigures]]
    sizes: Callable[[], Awaitable[Mapping[str, DatabaseSize]]]
    pools: Callable[[], Mapping[str, PoolFigures]] = field(default=dict)
    streams: Callable[[], StreamFigures] = field(default=StreamFigures)
    slots: Callable[[], tuple[int, int]] = field(default=lambda: (0, 0))
    blocks: BlockCount = field(default_factory=BlockCount)


@dataclass(slots=True)
class _Stored:
    """The last figures of the storage, and when they were read; None after a failure."""

    queue: QueueFigures | None = None
    sizes: Mapping[str, DatabaseSize] = field(default_factory=dict)
    queue_at: float = float("-inf")
    sizes_at: float = float("-inf")


class MetricsExposition:
    """The metrics of one process."""

    def __init__(self, counted: RunMetrics, sources: MetricSources, clock: Clock) -> None:
        self._counted, self._sources, self._clock = counted, sources, clock
        self._stored = _Stored()
        self._refreshing = asyncio.Lock()

    async def as_text(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics and their content type, which the header ``accept`` selects: Prometheus or OpenMetrics.

        Metrics that the agents' code registers with prometheus_client are included.
        """
        await self._refresh()
        encode, content_type = choose_encoder(accept)
        return encode(_Families(self)), content_type

    async def as_json(self) -> JsonObject:
        """Return the metrics that the reference server has, in its form."""
        await self._refresh()
        queue, (most, active) = self._stored.queue or QueueFigures(), self._sources.slots()
        pools = self._sources.pools()
        answer: JsonObject = {}
        if (pool := pools.get("postgres")) is not None:
            answer["postgres"] = {
                "pool_max": pool.most,
                "pool_size": pool.in_use + pool.idle,
                "pool_available": pool.idle,
                "requests_queued": pool.waiting,
                "requests_errors": 0,
            }
        if (pool := pools.get("redis")) is not None:
            answer["redis"] = {
                "idle_connections": pool.idle,
                "in_use_connections": pool.in_use,
                "max_connections": pool.most,
            }
        answer["queue"] = {
            "n_pending": queue.due + queue.delayed,
            "n_running": queue.running,
            "pending_runs_wait_time_max_secs": queue.oldest_due or None,
            "pending_runs_wait_time_med_secs": queue.median_due or None,
            "pending_unblocked_runs_wait_time_max_secs": queue.oldest_claimable or None,
        }
        answer["api"] = {"http_requests_total": list(self._requests())}
        if most > 0:
            answer["workers"] = {"max": most, "active": active, "available": most - active}
        return answer

    def _requests(self) -> Iterable[JsonObject]:
        for family in self._counted.registry.collect():
            for sample in family.samples:
                if sample.name == "runstead_http_requests_total":
                    labels = sample.labels
                    yield {
                        "method": labels["method"],
                        "path": labels["route"],
                        "status": int(labels["status"]),
                        "count": int(sample.value),
                    }

    async def _refresh(self) -> None:
        # A scraper that comes while the storage is read waits for the figures: there may be none before.
        async with self._refreshing:
            if self._clock.monotonic() - self._stored.queue_at >= _FRESH:
                await self._read()

    async def _read(self) -> None:
        stored, now = self._stored, self._clock.monotonic()
        stored.queue_at = now
        try:
            stored.queue = await self._sources.queue()
            if now - stored.sizes_at >= _SIZES_FRESH:
                stored.sizes_at = now
                stored.sizes = await self._sources.sizes()
        except Exception as error:
            # What this process counts is reported anyway, and that the storage could not be read.
            _log.warning("figures for metrics could not be read: %s", error)
            stored.queue = None

    def families(self) -> Iterable[Metric]:
        """Yield all metrics."""
        for collector in _PROCESS:
            yield from collector.collect()
        yield from _without_creation_times(self._counted.registry.collect())
        yield from self._of_process()
        yield from self._of_storage()
        yield from self._of_reference()
        yield from _foreign()

    def _of_process(self) -> Iterable[Metric]:
        most, active = self._sources.slots()
        yield _gauge("runstead_worker_slots", "Runs that this process can execute at once.", most)
        yield _gauge("runstead_worker_slots_in_use", "Runs that this process executes.", active)
        blocks = self._sources.blocks
        yield _counter("runstead_loop_blocks", "Times that agent code blocked its event loop.", blocks.blocks)
        yield _counter("runstead_loop_blocked_seconds", "Time that agent code blocked its event loop.", blocks.seconds)
        streams = self._sources.streams()
        yield _gauge("runstead_streams", "Streams that this process keeps or reads.", streams.streams)
        yield _gauge("runstead_stream_readers", "Readers of streams in this process.", streams.readers)
        yield _gauge(
            "runstead_stream_lag_events", "Published events that the slowest reader has not read.", streams.lag
        )
        yield _gauge("runstead_stream_kept_bytes", "Memory of events for readers.", streams.kept_bytes)
        yield _gauge("runstead_stream_unsent_bytes", "Events that Redis has not acknowledged.", streams.unsent_bytes)
        yield _counter("runstead_stream_events_dropped", "Events lost since Redis was away too long.", streams.dropped)
        connections = GaugeMetricFamily(
            "runstead_pool_connections", "Connections, by pool and state: in_use, idle, most.", labels=["pool", "state"]
        )
        waiting = GaugeMetricFamily("runstead_pool_waiting", "Work that waits for a connection.", labels=["pool"])
        for name, pool in self._sources.pools().items():
            for state, number in (("in_use", pool.in_use), ("idle", pool.idle), ("most", pool.most)):
                connections.add_metric([name, state], number)
            waiting.add_metric([name], pool.waiting)
        yield connections
        yield waiting

    def _of_storage(self) -> Iterable[Metric]:
        queue = self._stored.queue
        yield _gauge("runstead_storage_up", "1 if the figures of the storage could be read.", queue is not None)
        if queue is None:
            return
        runs = GaugeMetricFamily(
            "runstead_runs",
            "Stored runs: claimable (wait for a worker), blocked (behind a run of their thread), delayed, running.",
            labels=["status"],
        )
        for status, number in (
            ("claimable", queue.claimable),
            ("blocked", queue.due - queue.claimable),
            ("delayed", queue.delayed),
            ("running", queue.running),
        ):
            runs.add_metric([status], number)
        yield runs
        oldest = "Time that the oldest run has waited for a worker only."
        yield _gauge("runstead_oldest_claimable_run_seconds", oldest, queue.oldest_claimable)
        yield _gauge("runstead_oldest_waiting_run_seconds", "Time that the oldest run has waited.", queue.oldest_due)
        yield _gauge("runstead_expired_leases", "Runs of lost workers that wait for recovery.", queue.expired_leases)
        yield _gauge("runstead_dead_letters", "Runs that lost their worker too often.", queue.dead_letters)
        yield _gauge("runstead_webhooks_owed", "Webhook deliveries that are pending.", queue.webhooks_owed)
        yield _gauge("runstead_webhooks_overdue_seconds", "Age of the oldest due delivery.", queue.webhooks_overdue)
        retention = "How long the current pass of retention has been due; 0 between two passes."
        yield _gauge("runstead_retention_due_seconds", retention, queue.retention_due)
        yield _gauge("runstead_crons", "Enabled crons.", queue.crons)
        yield _gauge("runstead_cron_lateness_seconds", "Lateness of the latest enabled cron.", queue.cron_lateness)
        sizes = GaugeMetricFamily("runstead_database_bytes", "Size on disk: runs, checkpoints.", labels=["part"])
        free = GaugeMetricFamily("runstead_database_free_bytes", "Part of it that is free for writes.", labels=["part"])
        for part, size in self._stored.sizes.items():
            sizes.add_metric([part], size.used)
            free.add_metric([part], size.free)
        yield sizes
        yield free

    def _of_reference(self) -> Iterable[Metric]:
        """Yield the metrics of the reference server, under its names."""
        most, active = self._sources.slots()
        if (queue := self._stored.queue) is not None:
            for name, help_text, value in (
                ("num_pending_runs", "Pending runs.", queue.due + queue.delayed),
                ("num_running_runs", "Running runs.", queue.running),
                ("pending_runs_wait_time_max", "Longest wait of a pending run, in seconds.", queue.oldest_due),
                ("pending_runs_wait_time_med", "Median wait of pending runs, in seconds.", queue.median_due),
                (
                    "pending_unblocked_runs_wait_time_max",
                    "Longest wait of a pending run that is not behind another one, in seconds.",
                    queue.oldest_claimable,
                ),
            ):
                yield _gauge(f"lg_api_{name}", help_text, value)
        if most > 0:
            yield _gauge("lg_api_workers_max", "Runs that can be executed at once.", most)
            yield _gauge("lg_api_workers_active", "Runs that are executed.", active)
            yield _gauge("lg_api_workers_available", "Runs that could be executed in addition.", most - active)
        yield from self._requests_of_reference()
        pools = self._sources.pools()
        if (pool := pools.get("postgres")) is not None:
            yield _gauge("lg_api_pg_pool_max", "Maximum of connections to PostgreSQL.", pool.most)
            yield _gauge("lg_api_pg_pool_size", "Connections to PostgreSQL.", pool.in_use + pool.idle)
            yield _gauge("lg_api_pg_pool_available", "Idle connections to PostgreSQL.", pool.idle)
        if (pool := pools.get("redis")) is not None:
            yield _gauge("lg_api_redis_pool_max", "Maximum of connections to Redis.", pool.most)
            yield _gauge("lg_api_redis_pool_size", "Connections to Redis in use.", pool.in_use)
            yield _gauge("lg_api_redis_pool_available", "Idle connections to Redis.", pool.idle)

    def _requests_of_reference(self) -> Iterable[Metric]:
        for family in _without_creation_times(self._counted.registry.collect()):
            if family.name == "runstead_http_requests":
                renamed: Metric = CounterMetricFamily("lg_api_http_requests", "Answered requests.")
            elif family.name == "runstead_http_request_seconds":
                renamed = HistogramMetricFamily("lg_api_http_requests_latency_seconds", "Time to answer requests.")
            else:
                continue
            for sample in family.samples:
                labels = {"path" if name == "route" else name: value for name, value in sample.labels.items()}
                renamed.add_sample(renamed.name + sample.name.removeprefix(family.name), labels, sample.value)
            yield renamed


class _Families:
    """The metrics as the registry that an encoder of prometheus_client expects."""

    def __init__(self, exposition: MetricsExposition) -> None:
        self._exposition = exposition

    def collect(self) -> Iterable[Metric]:
        return self._exposition.families()


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=value)


def _counter(name: str, help_text: str, value: float) -> Metric:
    return CounterMetricFamily(name, help_text, value=value)


def _without_creation_times(families: Iterable[Metric]) -> Iterable[Metric]:
    """Yield the families without the time at which each series began, which would double their number."""
    for family in families:
        family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
        yield family


def _foreign() -> Iterable[Metric]:
    """Yield the metrics that code of this process has registered with prometheus_client, except those of the process
    itself."""
    known = {family.name for collector in _PROCESS for family in collector.collect()}
    for family in REGISTRY.collect():
        if family.name not in known and not family.name.startswith(("runstead_", "lg_api_")):
            yield family
