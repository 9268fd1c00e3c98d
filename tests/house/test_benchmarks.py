"""The benchmarks measure, and their arithmetic is correct."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.figures import Measurement, percentile, rows, table
from benchmarks.gate import Compared, per_call
from benchmarks.pure import TIMES, operations

ROOT = Path(__file__).parents[2]


def test_percentile_is_a_value_that_was_measured() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [percentile(values, percent) for percent in (0, 50, 95, 100)] == [1.0, 3.0, 5.0, 5.0]


def test_row_compares_what_was_measured_in_the_same_round() -> None:
    """A machine that was busy in one round was busy for both servers."""
    measured = [
        Measurement(round, server, "latency", "median_ms", value)
        for server, values in {"ours": (10.0, 30.0, 12.0), "theirs": (5.0, 15.0, 4.0)}.items()
        for round, value in enumerate(values)
    ]
    (row,) = rows(measured, "ours", "theirs")
    assert (row.ours, row.theirs, row.ratio) == (12.0, 5.0, 2.0)
    assert row.ours_spread == pytest.approx(20 / 2 / 12)
    assert "2.00" in table([row], "ours", "theirs")


def test_figure_that_only_one_server_has_is_not_compared() -> None:
    assert rows([Measurement(0, "ours", "latency", "median_ms", 1.0)], "ours", "theirs") == []


@pytest.mark.parametrize(
    ("base", "new", "fails"),
    [
        ([5.0, 5.0, 5.0], [5.4, 5.4, 5.4], False),
        ([5.0, 5.0, 5.0], [5.6, 5.6, 5.6], True),
        # Two disturbed rounds of three are no growth: the best rounds are the same.
        ([5.0, 5.0, 5.0], [8.0, 5.0, 8.0], False),
        # One lucky round of the base is none either: the rounds were mostly the same.
        ([4.0, 5.0, 5.0], [5.0, 5.0, 5.0], False),
    ],
)
def test_gate_fails_if_the_median_and_the_best_rounds_have_grown(
    base: list[float], new: list[float], fails: bool
) -> None:
    assert Compared("runs", base, new).fails(1.10) == fails


def test_gate_counts_what_a_part_needs_beyond_nothing() -> None:
    report = (
        f"==11== I   refs:      1,000\n==11== other\n==12== I   refs:      {1000 + 70 * TIMES:,}\n==10== I refs: 3\n"
    )
    assert per_call("11 nothing\n12 encode a token\n", report) == {"encode a token": 70.0}


def test_cpu_of_a_pure_part_fails_only_if_it_has_grown_by_half() -> None:
    assert not Compared("encode", [2.0, 2.0], [2.8, 2.8], slack=0.4).fails(1.10)
    assert Compared("encode", [2.0, 2.0], [3.2, 3.2], slack=0.4).fails(1.10)


def test_operations_are_the_same_in_every_measurement() -> None:
    def loop(times: int) -> None:
        for _ in range(times):
            pass

    few, many = operations(lambda: loop(10)), operations(lambda: loop(110))
    assert (few, many) == (operations(lambda: loop(10)), operations(lambda: loop(110)))
    assert (many - few) % 100 == 0
    assert many > few


def test_benchmarks_run_and_write_only_what_they_are_asked_to(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "--rounds", "1", "--size", "0.1", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=True)
    summary = json.loads(file.read_text())["summary"]
    assert {row["scenario"] for row in summary} >= {"run latency", "first token", "tokens, 20 streams"}
    assert all(row["ratio"] > 0 for row in summary if row["theirs"])
    assert "runstead" in done.stdout
    assert list(tmp_path.iterdir()) == [file]
