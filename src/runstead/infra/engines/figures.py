"""Figures about the connections of an engine, for metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """Connections of one pool, and the work that waits for one."""

    most: int
    in_use: int
    idle: int
    waiting: int = 0


@runtime_checkable
class Pooled(Protocol):
    """An engine that reports on its connections."""

    def pool_figures(self) -> PoolFigures: ...
