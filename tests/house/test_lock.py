"""The lock: pyproject.toml, uv.lock and the requirements files are compared, and moved in one commit."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def load() -> ModuleType:
    """Return .ci/lock.py as a module."""
    spec = importlib.util.spec_from_file_location("lock", ROOT / ".ci" / "lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lock = load()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a folder with all files that the check reads."""
    for file in ("pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / file, tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


def change(file: Path, old: str, new: str) -> None:
    """Replace the first of a text in a file; it must be there."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def block_of(file: Path, name: str) -> str:
    """Return a package's lines in a requirements file."""
    lines = file.read_text().splitlines(keepends=True)
    start = next(number for number, line in enumerate(lines) if line.startswith(f"{name}=="))
    end = next(number for number in range(start, len(lines)) if not lines[number].endswith("\\\n"))
    return "".join(lines[start : end + 1])


def version_of(name: str) -> str:
    """Return the locked version of a package."""
    return str(lock.versions()[name])


def test_lock_fits_the_project_and_its_exports() -> None:
    assert lock.check() == []


def test_check_names_a_requirement_that_was_not_locked(copy: Path) -> None:
    change(copy / "pyproject.toml", '    "httpx>=', '    "something-new>=1",\n    "httpx>=')
    assert lock.check(copy) == ["something-new >=1: in pyproject.toml, but not in uv.lock"]


def test_check_names_a_bound_that_was_not_locked(copy: Path) -> None:
    change(copy / "pyproject.toml", '    "orjson>=', '    "orjson>=0.1,>=')
    found = lock.check(copy)
    assert len(found) == 2
    assert all(line.startswith("orjson ") for line in found)


def test_check_names_a_requirement_of_a_group_that_was_not_locked(copy: Path) -> None:
    change(copy / "pyproject.toml", '"editables>=', '"something-new", "editables>=')
    assert lock.check(copy) == ["build: something-new of any version: in pyproject.toml, but not in uv.lock"]


@pytest.mark.parametrize("name", ["core", "scaled", "test"])
def test_check_names_a_file_whose_package_has_another_version(copy: Path, name: str) -> None:
    file = copy / "requirements" / f"{name}.txt"
    locked = version_of("langgraph")
    change(file, f"langgraph=={locked}", "langgraph==1.0.1")
    assert set(lock.check(copy)) == {
        f"requirements/{name}.txt: langgraph 1.0.1 is not in uv.lock",
        f"requirements/{name}.txt: langgraph {locked} is missing",
        f"requirements/{name}.txt: langgraph 1.0.1 is not needed",
    }


def test_check_names_a_file_with_another_hash(copy: Path) -> None:
    file = copy / "requirements" / "core.txt"
    block = block_of(file, "langgraph")
    change(file, block, block.replace("--hash=sha256:", "--hash=sha256:0", 1))
    assert lock.check(copy) == [
        f"requirements/core.txt: langgraph {version_of('langgraph')} has other hashes than in uv.lock"
    ]


def test_check_names_a_file_without_hashes(copy: Path) -> None:
    file = copy / "requirements" / "core.txt"
    change(file, block_of(file, "langgraph"), f"langgraph=={version_of('langgraph')}\n")
    assert lock.check(copy) == [f"requirements/core.txt: langgraph {version_of('langgraph')} has no hash"]


def test_check_names_a_file_that_lacks_a_package(copy: Path) -> None:
    file = copy / "requirements" / "core.txt"
    change(file, block_of(file, "orjson"), "")
    assert lock.check(copy) == [f"requirements/core.txt: orjson {version_of('orjson')} is missing"]


def test_check_names_a_package_that_a_marker_leaves_out(copy: Path) -> None:
    file = copy / "requirements" / "core.txt"
    version = version_of("orjson")
    change(file, f"orjson=={version}", f"orjson=={version} ; python_full_version < '3.13'")
    assert lock.check(copy) == [f"requirements/core.txt: orjson {version} is missing"]


def test_check_names_a_file_that_is_missing(copy: Path) -> None:
    (copy / "requirements" / "test.txt").unlink()
    assert lock.check(copy) == ["requirements/test.txt is missing"]


def test_check_failure_names_the_remedy(copy: Path) -> None:
    shutil.copytree(ROOT / ".ci", copy / ".ci")
    change(copy / "pyproject.toml", '    "httpx>=', '    "something-new>=1",\n    "httpx>=')
    # As called by .ci/venv, before anything is installed.
    done = subprocess.run(
        [sys.executable, "-I", "-S", copy / ".ci" / "lock.py", "check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "something-new >=1" in done.stderr
    assert "to fix it: make lock" in done.stderr


FAKE_UV = """#!/bin/sh
# Stands in for uv: an upgrade moves alembic, an export writes a line.
case "$1" in
lock) case "$*" in *--upgrade*) sed 's/^version = "OLD"/version = "99.1"/' uv.lock >new && mv new uv.lock ;; esac ;;
export) echo "exported with $*" ;;
esac
"""


@pytest.fixture
def project(copy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with the lock in it, and a uv on PATH that asks no index."""
    shutil.copytree(ROOT / ".ci", copy / ".ci", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / ".gitignore").write_text("bin/\n__pycache__/\n")
    (copy / "bin").mkdir()
    uv = copy / "bin" / "uv"
    uv.write_text(FAKE_UV.replace("OLD", version_of("alembic")))
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{copy / 'bin'}{os.pathsep}{os.environ['PATH']}")
    for variable in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{variable}_NAME", "A Tester")
        monkeypatch.setenv(f"GIT_{variable}_EMAIL", "tester@example.com")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    git(copy, "init", "--quiet")
    git(copy, "add", ".")
    git(copy, "commit", "--quiet", "-m", "start")
    return copy


def git(project: Path, *arguments: str) -> str:
    """Run git in a project and return its output."""
    return subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True, check=True).stdout


def call(project: Path, what: str) -> subprocess.CompletedProcess[str]:
    """Run .ci/lock.py of a project."""
    command = [sys.executable, str(project / ".ci" / "lock.py"), what]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_upgrade_makes_one_commit_that_lists_what_moved(project: Path) -> None:
    done = call(project, "upgrade")
    assert done.returncode == 0, done.stderr
    moved = f"alembic {version_of('alembic')} -> 99.1"
    assert moved in done.stdout
    assert git(project, "log", "--format=%B", "HEAD~1..").strip() == f"deps: upgrade the lock\n\n{moved}"
    assert git(project, "status", "--porcelain") == ""
    assert "exported with export" in (project / "requirements" / "core.txt").read_text()


def test_upgrade_refuses_a_tree_with_changes(project: Path) -> None:
    (project / "pyproject.toml").write_text("")
    done = call(project, "upgrade")
    assert done.returncode == 1
    assert "commit or stash them" in done.stderr
    assert git(project, "log", "--format=%s").strip() == "start"


def test_upgrade_commits_nothing_when_all_is_current(project: Path) -> None:
    (project / "bin" / "uv").write_text("#!/bin/sh\n")
    done = call(project, "upgrade")
    assert done.returncode == 0
    assert "everything is as new as pyproject.toml allows" in done.stdout
    assert git(project, "log", "--format=%s").strip() == "start"
    assert git(project, "status", "--porcelain") == ""
