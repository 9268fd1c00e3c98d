"""Services for operators, and for users about their limits: workers, API keys, limits, budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from runstead.gateway.services import Services
from runstead.graphs.configuration import GraphConfiguration
from runstead.infra.storage.allowances import SqlAllowanceReader
from runstead.infra.storage.api_keys import SqlApiKeyStore
from runstead.infra.storage.held_runs import SqlHeldRuns
from runstead.infra.storage.sizes import TableSize, table_sizes
from runstead.infra.telemetry.exposition import MetricSources
from runstead.infra.telemetry.workers_report import WorkersReport
from runstead.settings import Settings

from .budgets import configured_budgets
from .client_limits import configured_limits
from .profile import Profile
from .unsupported import auth_mode


def with_operations(
    services: Services,
    profile: Profile,
    sources: MetricSources,
    settings: Settings,
    configuration: GraphConfiguration,
) -> Services:
    """Return the services with those of operators."""
    database, clock = profile.database, profile.clock

    async def tables() -> Sequence[TableSize]:
        return await table_sizes((database, *profile.others))

    graph_ids = [source.graph_id for source in configuration.graphs]
    budgets = configured_budgets(settings, configuration)
    return replace(
        services,
        workers=WorkersReport(sources, SqlHeldRuns(database).read, tables, clock),
        allowances=SqlAllowanceReader(database, clock, configured_limits(settings), budgets, graph_ids),
        api_keys=SqlApiKeyStore(database) if auth_mode(settings, configuration) == "keys" else None,
    )
