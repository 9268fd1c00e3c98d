"""Costs of runs, which responses have where a client asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from runstead.resources.usage import cost_of
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.types import RunRecord
from runstead.wire.usage import from_cost

from .services import Services


async def costs_of_runs(services: Services, records: Sequence[RunRecord]) -> dict[str, JsonObject]:
    """Return the field ``cost`` of each run, by its id: what its models cost so far."""

    def price() -> dict[str, JsonObject]:
        used = {record.run_id: record.completion.models if record.completion else () for record in records}
        return {run_id: {"cost": from_cost(cost_of(models, services.prices))} for run_id, models in used.items()}

    # In a thread: the first price loads the list.
    return await asyncio.to_thread(price) if records else {}
