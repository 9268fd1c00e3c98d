"""Costs of runs as short texts for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from runstead.runtime.json_types import JsonMapping

UNPRICED: Final = "unpriced"


def cost_text(usd: float | None, unpriced: Sequence[str]) -> str:
    """Return a cost in US dollars: ``$0.0123``, with ``+?`` if some model has no price, ``unpriced`` if none has one,
    and ``-`` if no model was called."""
    if usd is None:
        return UNPRICED if unpriced else "-"
    return f"{_dollars(usd)}{'+?' if unpriced else ''}"


def cost_of_run(run: JsonMapping) -> str:
    """Return the cost of a run that was read with ``cost=true``."""
    cost = run.get("cost") or {}
    return cost_text(cost.get("usd"), cost.get("unpriced") or ())


def _dollars(usd: float) -> str:
    if 0 < usd < 0.0001:
        return "<$0.0001"
    return f"${usd:.4f}" if usd < 10 else f"${usd:,.2f}"
