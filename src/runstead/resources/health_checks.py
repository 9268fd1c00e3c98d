"""Results of health checks of external services, for `runstead doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """The result of one check; ``way_out`` is the remedy if something is wrong."""

    subject: str
    state: Literal["ok", "warning", "failed"]
    detail: str
    remedy: str | None = None
