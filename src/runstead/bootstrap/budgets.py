"""The budgets that the settings and langgraph.json set."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from runstead.graphs.configuration import GraphConfiguration
from runstead.infra.prices.genai import GenaiPrices
from runstead.infra.storage.run_budgets import Budgets
from runstead.runtime.runs.budgets import Budget, BudgetScope, BudgetUnit
from runstead.settings import Settings
from runstead.settings.limits import BudgetSetting


def configured_budgets(settings: Settings, configuration: GraphConfiguration) -> Budgets | None:
    """Return all budgets; None if there is none."""
    own = [BudgetSetting.model_validate(part.model_dump()) for part in configuration.budgets]
    found = [*_daily(settings), *(one for part in (*settings.budgets, *own) for one in _budgets(part))]
    return Budgets(tuple(dict.fromkeys(found)), GenaiPrices(), settings.budget_webhook) if found else None


def raising_scopes(settings: Settings) -> frozenset[str]:
    """Return the scopes of users who may raise budgets that are not only of their own run or thread."""
    return frozenset(scope for scope in (settings.admin_scope, settings.operator_scope) if scope is not None)


def _daily(settings: Settings) -> Iterator[Budget]:
    limits: tuple[tuple[BudgetScope, BudgetUnit, float | None], ...] = (
        ("user", "tokens", settings.limit_user_tokens_per_day),
        ("tenant", "tokens", settings.limit_tenant_tokens_per_day),
        ("user", "usd", settings.limit_user_usd_per_day),
        ("tenant", "usd", settings.limit_tenant_usd_per_day),
    )
    for scope, unit, amount in limits:
        if amount is not None:
            yield Budget((scope, "day"), unit, Decimal(str(amount)))


def _budgets(part: BudgetSetting) -> Iterator[Budget]:
    amounts: tuple[tuple[BudgetUnit, float | None], ...] = (("tokens", part.tokens), ("usd", part.usd))
    for unit, amount in amounts:
        if amount is not None:
            per = tuple(dict.fromkeys(part.per))
            warn_at = Decimal(str(part.warn_at))
            yield Budget(per, unit, Decimal(str(amount)), part.on_exceeded == "pause", warn_at, part.strict)
