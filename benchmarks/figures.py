"""Summary of measurements: medians over rounds, spread between rounds, and ratios of parallel measurements."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure of one scenario on one server in one round."""

    round: int
    server: str
    scenario: str
    figure: str
    value: float


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of both servers. ``ratio`` is Runstead's value divided by the reference's: the median of the rounds'
    ratios."""

    scenario: str
    figure: str
    ours: float
    ours_spread: float
    theirs: float
    theirs_spread: float
    ratio: float


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value below which ``percent`` of ``values`` lie; the nearest measured one."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(percent / 100 * (len(ordered) - 1))))]


def rows(measured: Iterable[Measurement], ours: str, theirs: str) -> list[Row]:
    """Return every figure that both servers have, in the order of the first measurement."""
    found: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    for one in measured:
        found.setdefault((one.scenario, one.figure), {}).setdefault(one.server, {})[one.round] = one.value
    return [
        _row(place, servers[ours], servers[theirs])
        for place, servers in found.items()
        if servers.keys() >= {ours, theirs}
    ]


def table(rows: Sequence[Row], ours: str, theirs: str) -> str:
    """Return the rows as a table for a terminal."""
    lines = [f"{'':20} {'':17} {ours:>17} {theirs:>17} {'ratio':>7}"]
    previous = None
    for row in rows:
        name = row.scenario if row.scenario != previous else ""
        previous = row.scenario
        mine, reference = _cell(row.ours, row.ours_spread), _cell(row.theirs, row.theirs_spread)
        lines.append(f"{name:20} {row.figure:17} {mine:>17} {reference:>17} {row.ratio:7.2f}")
    return "\n".join(lines)


def to_json(measured: Sequence[Measurement], summary: Sequence[Row]) -> dict[str, Any]:
    return {"summary": [asdict(row) for row in summary], "measurements": [asdict(one) for one in measured]}


def _row(place: tuple[str, str], ours: Mapping[int, float], theirs: Mapping[int, float]) -> Row:
    # Ratios within one round: a disturbance of one server also affects the other, seconds later.
    ratios = [value / theirs[round] for round, value in ours.items() if theirs.get(round)]
    mine, reference = list(ours.values()), list(theirs.values())
    return Row(
        *place,
        statistics.median(mine),
        _spread(mine),
        statistics.median(reference),
        _spread(reference),
        statistics.median(ratios) if ratios else float("nan"),
    )


def _spread(values: Sequence[float]) -> float:
    """Return half of the distance between the best and the worst round, relative to the median."""
    median = statistics.median(values)
    return (max(values) - min(values)) / 2 / median if median else 0.0


def _cell(value: float, spread: float) -> str:
    digits = 0 if value >= 1_000 else 1 if value >= 100 else 2
    return f"{value:,.{digits}f} ±{spread:.0%}"
