"""Port for budgets: counts what model calls use across all runs and processes, and admits further calls."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from ..budgets import Admission, BudgetLevel, BudgetNotice
from ..types import Lease, ModelUsage


class RunBudgetStore(Protocol):
    """Budgets of this deployment. Each call belongs to an attempt and carries its lease; LeaseLost if it holds the run
    no longer. Calls of an attempt whose worker was lost are no longer in flight.
    """

    async def admit(
        self,
        lease: Lease,
        usage: Sequence[ModelUsage],
        open_calls: Sequence[ModelUsage],
        wanted: ModelUsage,
        *,
        may_wait: bool = True,
    ) -> Admission:
        """Write the usage of the attempt so far, and decide about the call ``wanted``, in one transaction.

        ``open_calls`` are estimates of the attempt's calls in flight, which the decision counts as reserved, like those
        of other attempts. An admitted call is reserved too. Notices of the admission are written with it: each is
        returned once, over all processes.
        """
        ...

    async def report(
        self, lease: Lease, usage: Sequence[ModelUsage], open_calls: Sequence[ModelUsage]
    ) -> Sequence[BudgetNotice]:
        """Write the usage of the attempt so far, and replace what it has reserved; return notices as `admit` does."""
        ...

    async def add(self, lease: Lease, level: BudgetLevel, amount: Decimal) -> None:
        """Raise the budget of ``level`` at the place of a run. Repeating it for the same run changes nothing."""
        ...

    async def levels(self, lease: Lease) -> Sequence[BudgetLevel]:
        """Return the levels of all budgets at the place of a run."""
        ...
