"""What keeps the house in order works itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"


@pytest.mark.parametrize(("ci", "outcome"), [("true", "1 failed, 1 skipped"), ("", "2 skipped")])
def test_ci_lets_no_missing_server_pass(ci: str, outcome: str, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST.read_text())
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "def test_a_server(): pytest.skip('missing server: redis')\n"
        "def test_a_system(): pytest.skip('only on Windows')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rf", str(tmp_path)],
        # It imports what stands beside it, and wants nobody's plugins.
        env={**os.environ, "CI": ci, "PYTHONPATH": str(CONFTEST.parents[1]), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in done.stdout
    assert ("FAILED test_it.py::test_a_server" in done.stdout) is (ci == "true")


def make_environment(python: str, venv: Path) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).parents[2] / ".ci" / "venv"
    return subprocess.run([script, python, venv, "core"], capture_output=True, text=True, check=False)


def test_an_environment_needs_a_python_and_says_so(tmp_path: Path) -> None:
    done = make_environment("python-that-is-not-there", tmp_path / "venv")
    assert done.returncode == 1
    assert "there is no 'python-that-is-not-there'; install Python 3.11 or newer" in done.stderr


def test_an_old_python_is_refused_in_words(tmp_path: Path) -> None:
    old = tmp_path / "python-old"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo "Python 3.9.1";; *) exit 1;; esac\n')
    old.chmod(0o755)
    done = make_environment(str(old), tmp_path / "venv")
    assert done.returncode == 1
    assert "Python 3.9.1 is too old, 3.11 or newer is needed" in done.stderr


def test_a_python_without_ensurepip_names_the_missing_package(tmp_path: Path) -> None:
    # Debian's python3 without python3-venv, and no uv on the PATH.
    (tmp_path / "bin").mkdir()
    debian = tmp_path / "bin" / "debian-python"
    debian.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; *version_info\\[*) echo 3.12;; esac\n')
    debian.chmod(0o755)
    for tool in ("env", "rm", "sed", "sh"):
        (tmp_path / "bin" / tool).symlink_to(f"/bin/{tool}")
    script = Path(__file__).parents[2] / ".ci" / "venv"
    done = subprocess.run(
        ["/bin/sh", script, "debian-python", tmp_path / "venv", "core"],
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "apt-get install python3-venv" in done.stderr
