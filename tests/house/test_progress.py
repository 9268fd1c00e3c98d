"""Progress of `make test`: lines for slow and failed tests, counts, and a last line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.progress import Progress

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest

def test_passes(): pass
def test_fails(): assert False
def test_of_windows(): pytest.skip("only on Windows")
@pytest.mark.skipif(True, reason="no curl")
def test_curl(): pass
@pytest.mark.skipif(True, reason="no curl")
def test_more_curl(): pass
"""


class Lines:
    """A progress on a manual clock."""

    def __init__(self, total: int) -> None:
        self.lines: list[str] = []
        self.now = 0.0
        self.progress = Progress(self.lines.append, lambda: self.now)
        self.progress.total = total

    def add(self, nodeid: str, outcome: Literal["passed", "failed", "skipped"] = "passed", **phases: float) -> None:
        self.progress.start(nodeid)
        for when, duration in {"setup": 0.0, "call": 0.0, "teardown": 0.0, **phases}.items():
            fields: dict[str, Any] = {"outcome": outcome if when == "call" else "passed", "when": when}
            longrepr = ("file.py", 1, "Skipped: no curl") if fields["outcome"] == "skipped" else None
            self.progress.add(
                pytest.TestReport(nodeid, ("", 0, ""), {}, longrepr=longrepr, duration=duration, **fields)
            )


@pytest.fixture
def lines() -> Lines:
    return Lines(total=4)


def test_slow_test_is_named_with_all_its_phases(lines: Lines) -> None:
    lines.add("test_a.py::quick", setup=4, call=5.5)
    lines.add("test_a.py::slow", setup=4, call=5.5, teardown=1)
    assert lines.lines == ["  10.5 s  test_a.py::slow"]


def test_failed_test_is_named_at_once(lines: Lines) -> None:
    lines.add("test_a.py::broken", "failed")
    assert lines.lines == ["FAILED test_a.py::broken (call)"]


def test_counts_show_the_progress(lines: Lines) -> None:
    lines.add("test_a.py::one")
    lines.add("test_a.py::two", "skipped")
    lines.now = 61
    lines.progress.print_counts()
    assert lines.lines == ["[ 50%] 2 of 4 tests after 61 s, 0 failed, 1 skipped"]


def test_counts_name_the_test_that_runs_longest(lines: Lines) -> None:
    lines.progress.start("test_a.py::hangs")
    lines.now = 25
    lines.progress.start("test_a.py::new")
    lines.now = 30
    lines.progress.print_counts()
    assert lines.lines[0].endswith("; running for 30 s: test_a.py::hangs")


def test_last_line_counts_skips_by_reason(lines: Lines) -> None:
    lines.add("test_a.py::one")
    lines.add("test_a.py::two", "skipped")
    lines.add("test_a.py::three", "skipped")
    assert lines.progress.last_line() == ("1 tests were run: 1 passed, 0 failed; 1 not reached; 2 skipped: 2 (no curl)")


@pytest.mark.parametrize("workers", ["0", "2"])
def test_run_prints_failures_pytest_s_summary_and_the_last_line(workers: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    options = ["-q", "-p", "tests.progress", "--progress", "-p", "xdist"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-n", workers, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout.splitlines()
    assert done.returncode == 1, done.stdout + done.stderr
    place = printed.index("FAILED test_it.py::test_fails (call)")
    assert printed[place + 1].endswith("test_it.py:5")
    assert printed[place + 2] == "    assert False"
    assert printed[-2].startswith("1 failed, 1 passed, 3 skipped in ")
    assert printed[-1] == ("2 tests were run: 1 passed, 1 failed; 3 skipped: 2 (no curl), 1 (only on Windows)")


def test_without_the_option_pytest_output_is_unchanged(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_passes(): pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.progress", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(".")
    assert "tests were run" not in done.stdout
