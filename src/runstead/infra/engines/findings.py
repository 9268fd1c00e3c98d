"""What was seen when something was looked at that we depend on: the words of `runstead doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; ``way_out`` says what to do where something is wrong."""

    subject: str
    state: Literal["ok", "warning", "failed"]
    detail: str
    way_out: str | None = None
