"""Two tests with one node id fail, alone and with xdist."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHARED = """
def pytest_itemcollected(item):
    # As pytest keeps it: in 9.2 and newer, and before.
    item._nodeid = item.nodeid.partition("[")[0]
    if hasattr(item, "_id"):
        item._id = type(item._id).parse(item._nodeid)
"""
TESTS = """
import pytest

def test_once(): pass
@pytest.mark.parametrize("number", [1, 2])
def test_numbers(number): pass
"""


def run(folder: Path, *options: str) -> str:
    (folder / "test_it.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.node_ids", "-p", "no:cacheprovider", *options, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("options", [(), ("-p", "xdist.plugin", "-n", "2")], ids=["alone", "xdist"])
def test_shared_node_id_fails_and_names_it(options: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(SHARED)
    output = run(tmp_path, *options)
    assert "2 tests have the node id test_it.py::test_numbers; give each an id of its own" in output
    assert "1 passed" in output


def test_parametrized_tests_pass(tmp_path: Path) -> None:
    assert "3 passed" in run(tmp_path)
