"""Usage of models on the wire: sums, and their cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Final, get_args

from runstead.resources.usage import Cost, sums_by_caller, total_of
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.store import UsageGroup
from runstead.runtime.runs.store.usage_store import USAGE_DIMENSIONS, UsageDimension
from runstead.runtime.runs.types import USAGE_COUNTS, ModelUsage

from .errors import Unprocessable

_DAYS: Final = 30
"""Days of usage without other limits, today included."""


def usage_dimensions(names: Sequence[str]) -> tuple[UsageDimension, ...]:
    """Return the dimensions of a request, each once. Raises Unprocessable."""
    if unknown := [name for name in names if name not in get_args(UsageDimension)]:
        known = ", ".join(USAGE_DIMENSIONS)
        raise Unprocessable(f"group_by: {unknown[0]!a} is no dimension of usage; use some of {known}")
    return tuple(name for name in USAGE_DIMENSIONS if name in names)


def usage_days(since: date | None, until: date | None, today: date) -> tuple[date, date]:
    """Return the first and the last day of a request; the last 30 days where it names none. Raises Unprocessable."""
    until = until or (today if since is None else max(today, since))
    since = since or (until - timedelta(days=min(_DAYS - 1, until.toordinal() - 1)))
    if since > until:
        raise Unprocessable(f"from: {since} is after to: {until}; both are days that are included")
    return since, until


def from_usage(models: Sequence[ModelUsage], cost: Cost) -> JsonObject:
    """Return usage as clients read it: the total, by caller, and by model with its cost. ``models`` are sums by model
    and caller, and ``cost`` is theirs.
    """
    return {
        "total": _counts(total_of(models)),
        "by_caller": {caller: _counts(one) for caller, one in sums_by_caller(models).items()},
        "by_model": [
            {
                "model": one.model,
                "provider": one.provider,
                "caller": one.caller,
                **_counts(one),
                "usd": _number(usd),
            }
            for one, usd in zip(models, cost.by_usage, strict=True)
        ],
        "cost": from_cost(cost),
    }


def from_usage_group(group: UsageGroup, dimensions: Sequence[UsageDimension], cost: Cost) -> JsonObject:
    """Return one group: its values of the dimensions, its runs and counts, and its cost. ``usd`` is null if no model
    has a price.
    """
    return {
        **dict(zip(dimensions, group.key, strict=True)),
        "runs": group.runs,
        **_counts(total_of(group.models)),
        "usd": _number(cost.usd),
        "unpriced": list(cost.unpriced),
    }


def from_usage_total(group: UsageGroup, cost: Cost) -> JsonObject:
    """Return the sums of all groups, and their cost."""
    return {"total": {"runs": group.runs, **_counts(total_of(group.models))}, "cost": from_cost(cost)}


def from_cost(cost: Cost) -> JsonObject:
    """Return a cost: ``usd`` is null if nothing has a price, ``unpriced`` names the models without one."""
    return {"usd": _number(cost.usd), "unpriced": list(cost.unpriced), "prices": cost.source}


def _counts(usage: ModelUsage) -> dict[str, int]:
    return {name: getattr(usage, name) for name in USAGE_COUNTS}


def _number(usd: Decimal | None) -> float | None:
    return None if usd is None else float(usd)
