"""Metrics, log lines and traces of a server: built from the profile and the settings."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from runstead.gateway.request_log import TraceRequest, no_trace
from runstead.graphs.configuration import GraphConfiguration
from runstead.infra.engines.figures import PoolFigures
from runstead.infra.storage.queue_figures import SqlQueueFigures
from runstead.infra.storage.sizes import DatabaseSize, database_sizes
from runstead.infra.telemetry.exposition import MetricsExposition, MetricSources
from runstead.infra.telemetry.run_log import RunLog
from runstead.infra.telemetry.run_metrics import RunMetrics
from runstead.installation import install_command
from runstead.runtime.clock import Clock
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.telemetry import CompositeTelemetry, RunTelemetry
from runstead.runtime.stream_bridge.figures import MeasuredBridge, StreamFigures
from runstead.runtime.user_code.watchdog import BlockCount
from runstead.settings import Settings

from .profile import Profile
from .unsupported import UnsupportedConfiguration


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Receivers of reports. ``metrics`` counts requests too."""

    metrics: RunMetrics
    runs: RunTelemetry
    trace_request: TraceRequest = no_trace

    def exposition(self, sources: MetricSources, clock: Clock) -> MetricsExposition:
        """Return the metrics of this process."""
        return MetricsExposition(self.metrics, sources, clock)


def metric_sources(
    profile: Profile, runs: RunsFacade, blocks: BlockCount, most_runs: int, *, has_retention: bool
) -> MetricSources:
    """Return the sources of figures about this process. ``most_runs``: the runs that it executes at once;
    ``has_retention``: there are rules of retention."""
    bridge = profile.bridge

    def streams() -> StreamFigures:
        return bridge.figures() if isinstance(bridge, MeasuredBridge) else StreamFigures()

    async def sizes() -> Mapping[str, DatabaseSize]:
        return await database_sizes((profile.database, *profile.others))

    def pools() -> Mapping[str, PoolFigures]:
        return {name: pool.pool_figures() for name, pool in profile.pools.items()}

    return MetricSources(
        queue=SqlQueueFigures(profile.database, profile.clock, has_retention=has_retention).read,
        sizes=sizes,
        pools=pools,
        streams=streams,
        slots=lambda: (most_runs, runs.active_runs),
        blocks=blocks,
    )


def open_telemetry(
    stack: AsyncExitStack, profile: Profile, settings: Settings, configuration: GraphConfiguration
) -> Telemetry:
    """Return the telemetry of a server with this profile, open until the end of ``stack``.

    Raises UnsupportedConfiguration if packages for traces are missing, or their level cannot have contents.
    """
    metrics = RunMetrics(profile.clock, [source.graph_id for source in configuration.graphs])
    if not settings.traces:
        return Telemetry(metrics, CompositeTelemetry([RunLog(), metrics]))
    if settings.trace_contents and settings.trace_level != "all":
        raise UnsupportedConfiguration(
            f"trace_contents has no effect with trace_level {settings.trace_level!r}; set trace_level to 'all'"
        )
    try:
        # Imported here: without traces, nothing of the SDK is.
        from runstead.infra.telemetry.tracing import tracing
    except ImportError as error:
        raise UnsupportedConfiguration(
            f"traces needs packages that are not installed ({error.name}); {install_command('otel')}"
        ) from error
    traced = stack.enter_context(tracing(profile.clock, settings.trace_level, contents=settings.trace_contents))
    # Traces first: log lines are written inside the span.
    return Telemetry(metrics, CompositeTelemetry([traced, RunLog(), metrics]), traced.around_request)
