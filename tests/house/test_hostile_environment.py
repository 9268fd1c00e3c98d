"""The tests' result does not depend on the machine's environment: a few of each kind run in a hostile one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.environment import FIXED, isolated

ROOT: Final = Path(__file__).parents[2]
WITHIN: Final = 900
"""Seconds: half a minute alone, and many times that beside other tests of a busy machine."""
NOWHERE: Final = "/proc/nowhere"
"""A folder that not even root can create."""
FAKES: Final = (
    *("redis-server", "valkey-server", "postgres", "initdb", "pg_ctl", "psql"),
    *("node", "npm", "npx", "python", "python3", "runstead", "pip", "uv"),
)
HOSTILE: Final = {
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "DATABASE_URL": "postgresql://stranger@127.0.0.1:1/nothing",
    "RUNSTEAD_DATABASE_URL": "postgresql://stranger@127.0.0.1:1/nothing",
    "RUNSTEAD_REDIS_URL": "redis://127.0.0.1:1/0",
    "RUNSTEAD_PORT": "1",
    "RUNSTEAD_NO_SUCH_SETTING": "1",
    **{name: value for tool in ("LANGSMITH", "LANGCHAIN") for name, value in {
        f"{tool}_TRACING": "true", f"{tool}_TRACING_V2": "true", f"{tool}_API_KEY": "lsv2-secret",
        f"{tool}_ENDPOINT": "http://127.0.0.1:1", f"{tool}_PROJECT": "stranger's",
    }.items()},
    "LANGGRAPH_API_URL": "http://127.0.0.1:1",
    "OPENAI_API_KEY": "sk-secret",
    "OPENAI_BASE_URL": "http://127.0.0.1:1",
    "ANTHROPIC_API_KEY": "sk-secret",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:1",
    **dict.fromkeys((
        "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "npm_config_proxy",
    ), "http://127.0.0.1:1"),
    "LC_ALL": "tr_TR.ISO-8859-9",
    "LANG": "tr_TR.ISO-8859-9",
    "LANGUAGE": "tr",
    "TZ": "Asia/Kathmandu",
    "PYTHONPATH": NOWHERE,
    "PYTHONOPTIMIZE": "2",
    "PYTHONWARNINGS": "error",
    "PYTHONHASHSEED": "1",
    "PYTHONASYNCIODEBUG": "1",
    "PYTHONUTF8": "0",
    "PYTHONIOENCODING": "ascii",
    "PYTHONSTARTUP": NOWHERE,
    "PYTHONNOUSERSITE": "",
    "PGHOST": "127.0.0.1",
    "PGPORT": "1",
    "PGUSER": "stranger",
    "PGDATABASE": "somebodys",
    "PGPASSWORD": "wrong",
    "PGSSLMODE": "verify-full",
    "PGOPTIONS": "-c search_path=nowhere",
    "PGDATA": NOWHERE,
    "NODE_OPTIONS": "--no-such-option",
    "NODE_PATH": NOWHERE,
    "NODE_ENV": "production",
    "npm_config_prefix": NOWHERE,
    "HOME": NOWHERE,
    **{f"XDG_{name}_HOME": NOWHERE for name in ("DATA", "CONFIG", "CACHE", "STATE")},
    "XDG_RUNTIME_DIR": NOWHERE,
    "SSL_CERT_FILE": NOWHERE,
    "REQUESTS_CA_BUNDLE": NOWHERE,
    "COLUMNS": "20",
    "LINES": "3",
    "TERM": "dumb",
    "NO_COLOR": "1",
    "FORCE_COLOR": "1",
    "DEBUG": "*",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
}  # fmt: skip
TESTS: Final = f"@{Path(__file__).parent / 'each_kind.txt'}"
"""Each kind of server, client and program that the tests start; .ci/environments.py runs the same."""


@pytest.fixture
def hostile(tmp_path: Path) -> dict[str, str]:
    for name in FAKES:
        (tmp_path / name).write_text("#!/bin/sh\necho 'not this one' >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    return {**HOSTILE, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}


def test_isolated_keeps_nothing_of_a_hostile_environment(hostile: dict[str, str]) -> None:
    environ = {**hostile, "RUNSTEAD_TEST_REDIS_URL": "redis://named", "CI": "true"}
    assert isolated(environ, Path("/home")) == {
        **FIXED,
        "PATH": hostile["PATH"],
        "HOME": "/home",
        "RUNSTEAD_TEST_REDIS_URL": "redis://named",
        "CI": "true",
    }


@pytest.mark.parametrize("name", ["VENV", "ARGS", "WORKERS", "BIN", "PYTHON"])
def test_make_takes_its_settings_from_its_command_line_alone(name: str) -> None:
    """Variables of the same names in the environment are meant for other programs."""
    command = ["make", "--dry-run", "demo", "test"]
    elsewhere = {name: "/proc/elsewhere"}
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **elsewhere}, capture_output=True, text=True, check=True
    )
    assert "-m pytest" in done.stdout
    assert "elsewhere" not in done.stdout
    named = [*command, f"{name}=/proc/elsewhere"]
    assert "elsewhere" in subprocess.run(named, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.timeout(WITHIN + 10)
def test_tests_pass_in_a_hostile_environment(hostile: dict[str, str]) -> None:
    """Like `make test`: variables for Python itself are ignored from the start."""
    done = subprocess.run(
        [sys.executable, "-E", "-X", "utf8", "-m", "pytest", "-p", "no:cacheprovider", "-n0", "-ra", TESTS],
        cwd=ROOT,
        env=hostile,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-6_000:]}\n{done.stderr[-2_000:]}"
    assert " passed in " in done.stdout.splitlines()[-1], done.stdout


def test_signals_ignored_by_a_background_shell_are_restored() -> None:
    names = ("SIGINT", "SIGQUIT", "SIGHUP")
    code = f"import signal; print([int(signal.getsignal(getattr(signal, name)) is signal.SIG_IGN) for name in {names}])"
    ignoring = f"import signal; [signal.signal(getattr(signal, name), signal.SIG_IGN) for name in {names}]"
    for heed, ignored in (("", 1), ("from tests.environment import heed_signals; heed_signals()", 0)):
        script = f"{ignoring}\n{heed}\nimport subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str([ignored] * 3)
