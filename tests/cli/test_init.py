"""A new project works as it is written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .processes import Done, environ_of


def test_written_project_passes_its_own_test(invoke: Callable[..., Done], tmp_path: Path) -> None:
    place = tmp_path / "my-agent"
    done = invoke("init", str(place))
    assert (done.exit_code, "runstead dev" in done.out) == (0, True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(place)]
    tested = subprocess.run(command, cwd=place, env=environ_of(tmp_path), capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_init_overwrites_nothing(invoke: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text("mine")
    done = invoke("init", str(tmp_path))
    assert (done.exit_code, "already has agent.py" in done.err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["agent.py"]
