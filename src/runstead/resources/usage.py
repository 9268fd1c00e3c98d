"""Sums of the usage of models, and their cost by a price list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from runstead.runtime.runs.types import ModelUsage


class PriceList(Protocol):
    """Prices of models. ``source`` names the list and its release; None if there is none."""

    @property
    def source(self) -> str | None: ...

    def cost(self, usage: ModelUsage) -> Decimal | None:
        """Return the cost in US dollars; None if the list has no price for the model. May take long; blocks."""
        ...


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of usage in US dollars: ``usd`` is the sum of what has a price, ``unpriced`` are the models without.

    ``by_usage`` has the cost of each, in their order. ``usd`` is None if nothing has a price.
    """

    usd: Decimal | None
    unpriced: tuple[str, ...]
    source: str | None
    by_usage: tuple[Decimal | None, ...]


def cost_of(usage: Sequence[ModelUsage], prices: PriceList) -> Cost:
    """Return the cost of usage by a price list. Blocks."""
    costs = tuple(prices.cost(one) for one in usage)
    unpriced = {one.model for one, cost in zip(usage, costs, strict=True) if cost is None}
    priced = [cost for cost in costs if cost is not None]
    return Cost(sum(priced, Decimal()) if priced else None, tuple(sorted(unpriced)), prices.source, costs)


def sums_by_caller(usage: Iterable[ModelUsage]) -> dict[str, ModelUsage]:
    """Return the sums of all models, by the group of callers."""
    return _sums((one, ModelUsage("", None, one.caller), one.caller) for one in usage)


def total_of(usage: Iterable[ModelUsage]) -> ModelUsage:
    """Return the sum of all models and callers."""
    return _sums((one, ModelUsage("", None, "all"), "") for one in usage).get("", ModelUsage("", None, "all"))


def _sums(parts: Iterable[tuple[ModelUsage, ModelUsage, str]]) -> dict[str, ModelUsage]:
    sums: dict[str, ModelUsage] = {}
    for one, zero, key in parts:
        sums[key] = sums.get(key, zero).plus(one)
    return sums
