"""One thing that is fuzzed: a strategy of examples, and what is done with each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st


@dataclass(frozen=True, slots=True)
class Target:
    """``attempt`` raises Fault, or anything else that should not be raised, for what must not happen."""

    name: str
    examples: st.SearchStrategy[Any]
    attempt: Callable[[Any], None]
