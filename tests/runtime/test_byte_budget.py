"""Bytes held for clients: counted, and bounded."""

from __future__ import annotations

import pytest

from runstead.runtime.byte_budget import BudgetExceeded, ByteBudget


def test_budget_refuses_beyond_its_limit_and_accepts_after_release() -> None:
    budget = ByteBudget(100)
    first, second = budget.share(), budget.share()
    first.take(60)
    second.take(40)
    with pytest.raises(BudgetExceeded) as refused:
        second.take(1)
    assert refused.value.whose == "process"
    assert (second.size, budget.held) == (40, 100)
    first.give_back()
    second.take(60)
    second.give_back(30)
    second.give_back()
    assert (first.size, second.size, budget.held) == (0, 0, 0)


def test_single_share_fits_at_any_size() -> None:
    budget = ByteBudget(100, 50)
    large, small = budget.share(), budget.share()
    large.assign("ada")
    large.take(70)
    large.take(700)
    with pytest.raises(BudgetExceeded):
        small.take(1)
    large.give_back()
    small.take(1)
    assert budget.held == 1


def test_user_share_cannot_be_taken_by_others() -> None:
    budget = ByteBudget(100, 50)
    first, second, other = budget.share(), budget.share(), budget.share()
    for share, user in ((first, "ada"), (second, "ada"), (other, "bob")):
        share.assign(user)
    first.take(40)
    with pytest.raises(BudgetExceeded) as refused:
        second.take(20)
    assert refused.value.whose == "user"
    other.take(45)
    assert budget.held == 85


def test_bytes_that_came_before_their_user_was_known_count_as_theirs() -> None:
    budget = ByteBudget(100, 50)
    first, second, third = budget.share(), budget.share(), budget.share()
    first.take(40)
    first.assign("ada")
    second.take(20)
    with pytest.raises(BudgetExceeded):
        second.assign("ada")
    assert budget.held == 40
    third.take(20)
    third.assign("bob")
    assert budget.held == 60
