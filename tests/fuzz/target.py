"""A fuzzing target: a strategy of examples, and the attempt made with each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st


@dataclass(frozen=True, slots=True)
class Target:
    """``attempt`` raises Fault, or any other unexpected exception, for a violation. It may return an outcome, which is
    counted.
    """

    name: str
    examples: st.SearchStrategy[Any]
    attempt: Callable[[Any], str | None]
