"""With xdist, slow test files start first."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.slow_files import SLOW_FILES, slow_first

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class A:
    """A test item, as far as ordering needs it."""

    nodeid: str


@pytest.mark.parametrize("file", SLOW_FILES)
def test_slow_file_exists(file: str) -> None:
    assert (ROOT / file).is_file()


def test_slow_files_come_first_then_those_with_most_tests() -> None:
    one, few = [A("tests/a.py::one")], [A(f"tests/b.py::few[{number}]") for number in (2, 1)]
    slower, slow = [A(f"{SLOW_FILES[0]}::it")], [A(f"{SLOW_FILES[1]}::it[::]")]
    assert slow_first([*one, *slow, *few, *slower]) == [*slower, *slow, *few, *one]


def test_xdist_keeps_the_order(tmp_path: Path) -> None:
    for file, count in (("tests/cluster/test_faults.py", 1), ("tests/test_many.py", 5), ("tests/test_few.py", 3)):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        names = "\n".join(f"def test_{number}(): pass" for number in range(count))
        (tmp_path / file).write_text(names)
    plugins = ["-p", "xdist.plugin", "-p", "tests.slow_files", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, "-n", "1", "--dist", "loadfile", "-v", "--rootdir", ".", "tests"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "9 passed" in done.stdout, done.stdout + done.stderr
    began = [line.split("::")[0].split()[-1] for line in done.stdout.splitlines() if " PASSED " in line]
    assert list(dict.fromkeys(began)) == ["tests/cluster/test_faults.py", "tests/test_many.py", "tests/test_few.py"]
