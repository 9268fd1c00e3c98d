"""Runs targets for a number of examples or of seconds, and collects faults: one of each kind, with its shortest
example.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, seed, settings

from .target import Target
from .world import Fault

_BATCH: Final = 100
"""Examples of a target in a row, before the next target."""


@dataclass(slots=True)
class Report:
    """``faults``: by target and kind, the shortest example with its exception."""

    examples: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    faults: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    occurrences: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, target: str, example: Any, error: BaseException) -> None:
        kind = error.kind if isinstance(error, Fault) else f"{type(error).__name__} at {_place_of(error)}"
        text = "".join(traceback.format_exception(error))
        shortest = self.faults.get((target, kind))
        self.occurrences[target, kind] += 1
        if shortest is None:
            print(f"FAULT {target}: {kind}", flush=True)
        if shortest is None or len(repr(example)) < len(shortest[0]):
            self.faults[target, kind] = (repr(example), text)

    def __str__(self) -> str:
        lines = [
            f"{name}: {count} examples, {count / max(self.seconds[name], 0.001):.0f} a second"
            + "".join(f", {outcome} {times}" for outcome, times in sorted(self.outcomes[name].items()))
            for name, count in sorted(self.examples.items())
        ]
        for (target, kind), (example, text) in self.faults.items():
            count = self.occurrences[target, kind]
            lines.append(f"\nFAULT {target}: {kind}, {count} times\nexample: {example[:3_000]}\n{text[-4_000:]}")
        total = self.examples.total()
        rate = total / max(sum(self.seconds.values()), 0.001)
        return "\n".join([*lines, f"{total} examples, {rate:.0f} a second, {len(self.faults)} kinds of faults"])


def fuzz(
    targets: Sequence[Target],
    report: Report,
    *,
    number: int,
    check: Callable[[], None],
    goes_on: Callable[[], bool] = lambda: True,
    batches: int | None = None,
    examples: int = _BATCH,
) -> int:
    """Give each target a batch of ``examples``, in turn, while ``goes_on``, or so many ``batches``.

    ``number``: of the first batch, which decides the examples; that of the next one is returned. ``check`` is called
    after each batch.
    """
    for target in islice(cycle(targets), batches):
        if not goes_on():
            break
        _batch(target, report, number, examples, goes_on)
        number += 1
        try:
            check()
        except Fault as fault:
            report.add(target.name, f"a batch of {target.name}", fault)
    return number


def _batch(target: Target, report: Report, number: int, examples: int, goes_on: Callable[[], bool]) -> None:
    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(target.examples)
    def attempt(example: Any) -> None:
        if not goes_on():
            return
        report.examples[target.name] += 1
        try:
            if outcome := target.attempt(example):
                report.outcomes[target.name][outcome] += 1
        except Exception as error:
            # Not raised: the state of the server has changed, so a second try could be meaningless.
            report.add(target.name, example, error)

    since = time.monotonic()
    attempt()
    report.seconds[target.name] += time.monotonic() - since  # type: ignore[assignment]


def _place_of(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "?"
