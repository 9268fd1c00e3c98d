"""The project's own tools work."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
CONFTEST = ROOT / "tests" / "conftest.py"


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
        # It imports modules next to it, and uses no pytest plugins.
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


def test_environment_without_python_is_refused_with_a_remedy(tmp_path: Path) -> None:
    done = make_environment("python-that-is-not-there", tmp_path / "venv")
    assert done.returncode == 1
    assert "there is no 'python-that-is-not-there'; install Python 3.11 or newer" in done.stderr


def test_old_python_is_refused_with_a_message(tmp_path: Path) -> None:
    old = tmp_path / "python-old"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo "Python 3.9.1";; *) exit 1;; esac\n')
    old.chmod(0o755)
    done = make_environment(str(old), tmp_path / "venv")
    assert done.returncode == 1
    assert "Python 3.9.1 is too old, 3.11 or newer is needed" in done.stderr


def test_python_without_ensurepip_names_the_missing_package(tmp_path: Path) -> None:
    # Debian's python3 without python3-venv, and no uv on the PATH.
    (tmp_path / "bin").mkdir()
    debian = tmp_path / "bin" / "debian-python"
    debian.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; *version_info\\[*) echo 3.12;; esac\n')
    debian.chmod(0o755)
    for tool in ("env", "mkdir", "mktemp", "rm", "sed", "sh"):
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


@pytest.mark.parametrize("unwritable", [{"HOME": "/proc/nowhere"}, {"XDG_CACHE_HOME": "/proc/nowhere"}])
def test_installation_needs_no_writable_home(unwritable: dict[str, str], tmp_path: Path) -> None:
    """Like uv and npm, this one creates its cache folder."""
    folders = tmp_path / "bin", tmp_path / "home", tmp_path / "tmp"
    for folder in folders:
        folder.mkdir()
    uv = folders[0] / "uv"
    uv.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && exit\n'
        'mkdir -p "${UV_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/uv}" "${npm_config_cache:-$HOME/.npm}" || exit 1\n'
        'echo "caches are in $UV_CACHE_DIR and $npm_config_cache" >&2\n'
        "exit 7\n"
    )
    uv.chmod(0o755)
    path = f"{folders[0]}{os.pathsep}{os.environ['PATH']}"
    environ = {"PATH": path, "HOME": str(folders[1]), "TMPDIR": str(folders[2]), **unwritable}
    command: list[str | Path] = [ROOT / ".ci" / "venv", sys.executable, tmp_path / "venv", "core"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
    assert f"caches are in {folders[2]}/" in done.stderr
    assert not list(folders[2].iterdir())


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """A machine whose make only records its arguments, and fails for targets named in FAILING."""
    folder = tmp_path / "machine"
    folder.mkdir()
    for tool in ("bash", "cat", "dirname", "env", "grep", "head", "mktemp", "rm", "sed", "sh", "tail", "tee", "git"):
        (folder / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
    (folder / "python3").symlink_to(sys.executable)
    (folder / "make").write_text(
        "#!/bin/sh\n"
        'echo "asked for $*"\n'
        'case " $FAILING " in *" $1 "*) echo "it broke"; exit 2;; esac\n'
        'echo "5 tests were run: 5 passed, 0 failed; none skipped"\n'
    )
    for tool in ("curl", "cc", "chromium-headless-shell", "promtool"):
        (folder / tool).write_text("#!/bin/sh\n")
    for tool in ("make", "curl", "cc", "chromium-headless-shell", "promtool"):
        (folder / tool).chmod(0o755)
    return {"PATH": str(folder), "TMPDIR": str(tmp_path), "FAILING": ""}


def run_in(machine: dict[str, str], *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=machine, capture_output=True, text=True, check=False)


def targets(done: subprocess.CompletedProcess[str]) -> list[str]:
    asked = [line.split()[2] for line in done.stdout.splitlines() if line.startswith("asked for ")]
    return [target for target in asked if target != "--version"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([], ["check", "bench", "fuzz", "test"]),
        (["fuzz", "newest"], ["fuzz", "test-newest"]),
        (["newest"], ["test-newest"]),
        (["lowest", "later"], ["test-lowest", "test-later"]),
        (["lock", "newest"], ["check", "bench", "fuzz", "test", "test-newest"]),
    ],
)
def test_ci_runs_what_it_is_asked_for(asked: list[str], expected: list[str], machine: dict[str, str]) -> None:
    done = run_in(machine, ROOT / ".ci" / "run", *asked)
    assert (done.returncode, targets(done)) == (0, expected), done.stderr
    assert done.stdout.endswith("5 passed, 0 failed; none skipped\nall good\n")


def test_ci_continues_after_a_failure_and_fails(machine: dict[str, str]) -> None:
    done = run_in(machine | {"FAILING": "test-newest"}, ROOT / ".ci" / "run", "newest", "lowest")
    assert (done.returncode, targets(done)) == (1, ["test-newest", "test-lowest"])
    assert "make test-newest: FAILED, the tests did not run to their end" in done.stdout
    assert "make test-lowest: ok, 5 tests were run" in done.stdout


def test_ci_refuses_unknown_targets_and_lists_known_ones(machine: dict[str, str]) -> None:
    done = run_in(machine, ROOT / ".ci" / "run", "newest", "oldest")
    assert (done.returncode, targets(done)) == (2, [])
    assert "there is no 'oldest'" in done.stderr
    assert ".ci/run newest lowest later environments" in done.stderr


ENVIRONMENTS = (sys.executable, "-I", ROOT / ".ci" / "environments.py", "--python", sys.executable)


def test_environments_are_tried_with_both_commands(machine: dict[str, str]) -> None:
    done = run_in(machine, *ENVIRONMENTS, "keys", "time-zone-unknown")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("ok      keys ")
    assert "5 tests were run: 5 passed, 0 failed; none skipped" in first
    assert second.startswith("ok      time-zone-unknown ")


def test_environment_in_which_a_command_fails_is_named_and_its_log_is_kept(machine: dict[str, str]) -> None:
    # Its variables reach make, and no others of the machine.
    (Path(machine["PATH"]) / "make").write_text('#!/bin/sh\necho "key $OPENAI_API_KEY, $FAILING"\nexit 1\n')
    done = run_in(machine | {"FAILING": "unseen"}, *ENVIRONMENTS, "keys")
    assert done.returncode == 1
    assert "FAILED  keys " in done.stdout
    assert "key other, \n" in done.stdout
    (log,) = Path(machine["TMPDIR"]).glob("runstead-environments-logs-*/keys-demo.log")
    assert str(log) in done.stdout


def test_unknown_environment_is_refused_with_the_names(machine: dict[str, str]) -> None:
    done = run_in(machine, *ENVIRONMENTS, "moon")
    assert done.returncode == 2
    assert "there is no moon; there are empty, user, " in done.stderr


def imported_by(files: Iterable[Path], seen: set[Path]) -> set[str]:
    """Return the top-level packages that test files import, also through other test modules."""
    names = set()
    for file in files:
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        for node in ast.walk(ast.parse(file.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for module in modules:
                names.add(module.partition(".")[0])
                path = ROOT.joinpath(*module.split("."))
                if module.startswith("tests."):
                    names |= imported_by((path.with_suffix(".py"), path / "__init__.py"), seen)
    return names


def test_light_suites_import_only_packages_of_the_light_environment() -> None:
    (light,) = re.findall(r"^LIGHT := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    suites = [ROOT / folder for folder in light.split()]
    assert all(suite.is_dir() for suite in suites)
    files = [CONFTEST, *(file for suite in suites for file in suite.rglob("*.py"))]
    names = imported_by(files, set()) - {"runstead", "tests"} - sys.stdlib_module_names
    assert {"pytest", "hypothesis"} <= names
    locked = {line.partition("==")[0] for line in (ROOT / "requirements" / "dev.txt").read_text().splitlines()}
    providers = packages_distributions()
    missing = {name for name in names if not {canonicalize_name(one) for one in providers.get(name, ())} & locked}
    assert missing == set(), "these packages are not in the extra `dev`, which `make test ARGS=tests/runtime` installs"
