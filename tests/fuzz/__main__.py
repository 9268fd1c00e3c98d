"""``python -m tests.fuzz``: fuzz the server and print figures; the exit code says whether there were faults."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .driver import Report, fuzz
from .suite import TARGETS, world_and_targets

_ROUND: Final = 30.0
"""Seconds that one server is fuzzed; then a new one is started on an empty database."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="all of them, unless some are named")
    chosen = parser.parse_args()
    print(f"SEED={chosen.seed} SECONDS={chosen.seconds:g}", flush=True)
    until = time.monotonic() + chosen.seconds
    report, number, rounds = Report(), chosen.seed * 1_000_000, 0
    while time.monotonic() < until:
        number = _round(rounds, chosen.targets, report, number, min(until, time.monotonic() + _ROUND))
        rounds += 1
        found = f"{report.examples.total()} examples, {len(report.faults)} kinds of faults"
        print(f"{found}, {max(until - time.monotonic(), 0):.0f} s left", flush=True)
    print(report, flush=True)
    return 1 if report.faults else 0


def _round(rounds: int, names: Sequence[str], report: Report, number: int, until: float) -> int:
    """Fuzz one server until that time (monotonic); return the number of the next batch.

    In every second round, its users are those of auth handlers.
    """
    with (
        tempfile.TemporaryDirectory(prefix="runstead-fuzz-") as folder,
        world_and_targets(Path(folder), names, with_handlers=rounds % 2 == 1) as (world, targets),
    ):
        return fuzz(targets, report, number=number, check=world.check, goes_on=lambda: time.monotonic() < until)


if __name__ == "__main__":
    sys.exit(main())
