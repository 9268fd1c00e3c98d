"""Comparison of resume values with pending interrupts."""

from __future__ import annotations

from typing import Any

import pytest

from runstead.runtime.runs.internal.execution.resume_checks import unknown_interrupts

A, B = "a" * 32, "b" * 32


@pytest.mark.parametrize(
    ("resume", "pending", "unknown"),
    [
        ("yes", [A], None),
        ("yes", [], []),
        ({A: "yes"}, [A, B], None),
        ({A: "yes", B: "no"}, [A], [B]),
        ({B: "no"}, [A], [B]),
        ({B: "no"}, [], [B]),
        # An answer that happens to be a mapping.
        ({"approved": True}, [A], None),
        ({"approved": True}, [], []),
        ({}, [A], None),
        # Ids of another format are recognised by a pending one.
        ({"mine": 1, "gone": 2}, ["mine"], ["gone"]),
    ],
)
def test_unknown_answers_returns_ids_without_an_interrupt(
    resume: Any, pending: list[str], unknown: list[str] | None
) -> None:
    assert unknown_interrupts(resume, pending) == unknown
