"""The whole kernel runs a thousand seeded schedules on virtual time, and keeps its laws.

A failure prints its seed. ``RUNSTEAD_SIM_SEED=123 pytest tests/simulation`` runs exactly that schedule again;
``RUNSTEAD_SIM_SCHEDULES`` sets the number of schedules in a test run, ``RUNSTEAD_SIM_FIRST`` the first seed.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.simulation import run_schedule

_ONE = os.environ.get("RUNSTEAD_SIM_SEED")
_FIRST = int(os.environ.get("RUNSTEAD_SIM_FIRST", "0"))
_SCHEDULES = int(os.environ.get("RUNSTEAD_SIM_SCHEDULES", "1000"))
_BATCH = 100

_BATCHES = (
    [range(int(_ONE), int(_ONE) + 1)]
    if _ONE
    else [
        range(first, min(first + _BATCH, _FIRST + _SCHEDULES)) for first in range(_FIRST, _FIRST + _SCHEDULES, _BATCH)
    ]
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Errors in a schedule are expected: warnings from thousands of them are meaningless."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(before)


@pytest.mark.parametrize("seeds", _BATCHES, ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
def test_every_schedule_satisfies_the_laws(seeds: range) -> None:
    for seed in seeds:
        verdict = run_schedule(seed)
        assert not verdict.broken, verdict.report()


def test_seed_determines_the_schedule() -> None:
    """The same seed gives the same trace, twice in one process and in another one with another hash seed."""
    seeds = range(40, 60)
    traces = [_digest(seeds), _digest(seeds)]
    names = "from tests.simulation.test_schedules import _digest"
    script = f"import logging; logging.disable(50); {names}; print(_digest(range(40, 60)))"
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(Path(__file__).parents[2])}
    answer = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert traces[0] == traces[1] == answer.stdout.strip()


def test_seeds_differ() -> None:
    assert len({_digest(range(seed, seed + 1)) for seed in range(20)}) == 20


def _digest(seeds: range) -> str:
    digest = sha256()
    for seed in seeds:
        for line in run_schedule(seed).trace:
            digest.update(line.encode())
    return digest.hexdigest()
