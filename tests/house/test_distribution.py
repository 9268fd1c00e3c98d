"""The check of released files finds what is missing, and what does not belong there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[2]


def test_wheel_without_its_types_is_refused(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "runstead-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("runstead/__init__.py", "")
        wheel.writestr("runstead/notes.txt", "")
    command = [sys.executable, "-I", str(ROOT / ".ci" / "distribution.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout.splitlines()
    assert done.returncode == 1
    assert "runstead-1-py3-none-any.whl has no runstead/py.typed" in said
    assert "runstead-1-py3-none-any.whl has no entry point runstead = runstead.cli.main:main" in said
    assert "runstead-1-py3-none-any.whl has runstead/notes.txt, which is not in the repository" in said
    assert "runstead-1-py3-none-any.whl has no runstead/__init__.py" not in said
