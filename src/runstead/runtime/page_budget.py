"""The bytes that one page of a list may take, bound to the context of a request.

A page is cut where its next entry would not fit, and has one entry at least. Stores read the bound budget, so that
what does not fit is not even read. Without one, pages are as long as they were asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

_bound: ContextVar[PageBudget | None] = ContextVar("runstead_page_budget", default=None)


@dataclass(slots=True)
class PageBudget:
    """``limit``: bytes of a page. ``is_cut``: a page was cut, so there are more entries than it shows."""

    limit: int
    is_cut: bool = False

    def fitting(self, sizes: Iterable[int]) -> int:
        """Return how many entries of these sizes fit, in their order; one at least where there is one."""
        used = count = 0
        for size in sizes:
            used += size
            if used > self.limit and count:
                self.is_cut = True
                break
            count += 1
        return count


@contextmanager
def page_within(limit: int | None) -> Iterator[PageBudget]:
    """Bind a budget for the length of a block; None binds none."""
    budget = PageBudget(0 if limit is None else limit)
    token = _bound.set(None if limit is None else budget)
    try:
        yield budget
    finally:
        _bound.reset(token)


def page_budget() -> PageBudget | None:
    """Return the bound budget."""
    return _bound.get()
