"""No test fails because of a new patch release of a library: recorded responses are compared under fake versions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
WITHIN: Final = 900
"""Seconds: half a minute alone, and many times that beside other tests of a busy machine."""
TESTS: Final = (
    "tests/wire/test_transcripts.py::test_context_and_config_seen_by_a_run",
    "tests/wire/test_transcripts.py::test_server_routes",
    "tests/wire/test_transcripts.py::test_responses_equal_those_of_the_reference[stream_agent_events]",
    "tests/wire/test_transcripts.py::test_responses_equal_those_of_the_reference[stream_tools_messages-tuple]",
    "tests/wire/test_comparison.py",
)


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """A folder that, first on the path, makes every library but Runstead one patch release newer."""
    for found in distributions():
        name, newer = found.metadata["Name"], next_patch(found.version)
        if name != "runstead":
            place = tmp_path / f"{name.replace('-', '_')}-{newer}.dist-info"
            place.mkdir(exist_ok=True)
            for file in ("METADATA", "entry_points.txt"):
                if text := found.read_text(file):
                    (place / file).write_text(re.sub(r"(?m)^Version: .*$", f"Version: {newer}", text, count=1))
    return tmp_path


def next_patch(version: str) -> str:
    return re.sub(r"(\d+)(\D*)$", lambda last: f"{int(last[1]) + 1}{last[2]}", version)


@pytest.mark.timeout(WITHIN + 10)
def test_recorded_answers_are_the_same_under_later_patch_releases(later: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(later)}
    version = [sys.executable, "-c", "import langgraph.version; print(langgraph.version.__version__)"]
    seen = [
        subprocess.run(version, env=env, capture_output=True, text=True, check=True).stdout.strip()
        for env in (os.environ, environ)
    ]
    assert seen[1] == next_patch(seen[0])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n0", *TESTS],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-6_000:]}\n{done.stderr[-2_000:]}"
