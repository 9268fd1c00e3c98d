"""The command line starts quickly, because heavy modules are imported only when needed."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable

import pytest

from runstead import __version__

from .processes import Done, command_of

HEAVY = ("langgraph", "langchain_core", "langchain", "fastapi", "uvicorn", "sqlalchemy", "httpx", "rich", "orjson")
COMMANDS = [
    (),
    ("demo",),
    ("dev",),
    ("serve",),
    ("run",),
    ("watch",),
    ("doctor",),
    ("runs",),
    ("runs", "ls"),
    ("runs", "retry"),
    ("runs", "cancel"),
    ("chat",),
    ("threads", "ls"),
    ("approvals", "answer"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_imports_nothing_heavy(command: tuple[str, ...]) -> None:
    code = f"""
import json, sys
from runstead.cli.main import app
try:
    app({[*command, "--help"]!r})
except SystemExit as ended:
    assert ended.code == 0, ended.code
print(json.dumps(sorted(set({HEAVY!r}) & set(sys.modules))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert "Usage: " in done.stdout


def test_help_takes_little_cpu_time() -> None:
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command_of("--help"), capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # CPU time, the best of several: other load on the machine does not count.
    assert min(seconds() for _ in range(5)) < 0.3


def test_version_option_prints_the_version(invoke: Callable[..., Done]) -> None:
    assert invoke("--version").out.strip() == __version__


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in ((), ("runs",))], ids=" ".join)
def test_every_command_has_a_json_option(command: tuple[str, ...], invoke: Callable[..., Done]) -> None:
    assert "--json" in invoke(*command, "--help").out


def test_worker_help_does_not_offer_zero_runs(invoke: Callable[..., Done]) -> None:
    assert "0 leaves all runs to worker processes" in " ".join(invoke("serve", "--help").out.split())
    assert "leaves all runs" not in " ".join(invoke("worker", "--help").out.split())
