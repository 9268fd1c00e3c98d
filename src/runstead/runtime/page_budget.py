"""Limit for the bytes of one page of a list, bound to the context of a request.

A page is cut before the entry that does not fit, and has at least one entry. Stores read the bound budget, so that
entries beyond it are not even read. Without one, pages have the requested length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

_bound: ContextVar[PageBudget | None] = ContextVar("runstead_page_budget", default=None)


@dataclass(slots=True)
class PageBudget:
    """Budget of one page. ``limit``: maximum bytes. ``is_cut``: the page was cut, so there are more entries than it
    contains."""

    limit: int
    is_cut: bool = False

    def fitting(self, sizes: Iterable[int]) -> int:
        """Return the number of entries that fit, in the order of their sizes; at least one if there is any."""
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
    """Bind a budget for the duration of a block; None binds none."""
    budget = PageBudget(0 if limit is None else limit)
    token = _bound.set(None if limit is None else budget)
    try:
        yield budget
    finally:
        _bound.reset(token)


def page_budget() -> PageBudget | None:
    """Return the bound budget."""
    return _bound.get()
