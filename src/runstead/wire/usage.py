"""Usage of models on the wire: sums, and their cost."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from runstead.resources.usage import Cost, sums_by_caller, total_of
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.types import USAGE_COUNTS, ModelUsage


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
        "cost": {"usd": _number(cost.usd), "unpriced": list(cost.unpriced), "prices": cost.source},
    }


def _counts(usage: ModelUsage) -> dict[str, int]:
    return {name: getattr(usage, name) for name in USAGE_COUNTS}


def _number(usd: Decimal | None) -> float | None:
    return None if usd is None else float(usd)
