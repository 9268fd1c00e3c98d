"""Processor time by file, as `make test` prints it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.costs import COLLECTING, Costs, processor_seconds, table

ROOT = Path(__file__).parents[2]
SECONDS_PER_TICK = 1 / os.sysconf("SC_CLK_TCK")


def test_time_between_two_files_is_charged_to_the_first_of_them() -> None:
    readings = iter([3.0, 4.0, 4.5, 6.0])
    costs = Costs(lambda: next(readings))
    for file in ("test_a.py", "test_a.py", "test_b.py", "test_a.py"):
        costs.enter(file)
    costs.stop()
    assert costs.seconds == {COLLECTING: 3.0, "test_a.py": 2.5, "test_b.py": 0.5}


def test_falling_counter_charges_nothing() -> None:
    readings = iter([3.0, 1.0, 2.0])
    costs = Costs(lambda: next(readings))
    costs.enter("test_a.py")
    costs.enter("test_b.py")
    costs.stop()
    assert costs.seconds == {COLLECTING: 3.0, "test_a.py": 0.0, "test_b.py": 1.0}


def process(proc: Path, pid: int, parent: int, *ticks: int) -> None:
    (proc / str(pid)).mkdir()
    numbers = ["S", str(parent), *["0"] * 9, *map(str, ticks)]
    (proc / str(pid) / "stat").write_text(f"{pid} (a (b) c) {' '.join(numbers)} 0\n")


def test_processor_time_includes_descendants_and_no_others(tmp_path: Path) -> None:
    process(tmp_path, 1, 0, 100_000, 0, 0, 0)
    process(tmp_path, 7, 1, 10, 20, 30, 40)
    process(tmp_path, 8, 7, 100, 0, 0, 0)
    process(tmp_path, 9, 8, 0, 100, 0, 0)
    assert processor_seconds(7, tmp_path) == pytest.approx(300 * SECONDS_PER_TICK)


def test_table_names_the_most_expensive_files_and_sums_up_the_rest() -> None:
    assert table({"a": 1.0, "b": 20.0, "c": 2.0, "d": 3.0}, 2) == [
        "26 s of processor time, by file:",
        "    20.0 s  b",
        "     3.0 s  d",
        "     3.0 s  2 others",
    ]


def test_run_with_workers_prints_the_costs_of_all_files(tmp_path: Path) -> None:
    for name in ("test_one.py", "test_two.py"):
        (tmp_path / name).write_text("def test_passes(): sum(range(3_000_000))\n")
    options = ["-q", "-p", "tests.progress", "-p", "tests.costs", "--progress", "-p", "xdist", "-n", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--dist", "loadfile", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "s of processor time, by file:" in done.stdout
    assert {line.split("  ")[-1] for line in done.stdout.splitlines() if " s  " in line} >= {
        "test_one.py",
        "test_two.py",
        COLLECTING,
    }
