"""A forked process with imports behaves like a started one."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from .fork_server import Fork, started
from .server import GRAPHS

# The effect of ``python -m runstead.cli``, as a program: such programs are always started normally.
_FROM_NOTHING: Final = "import runpy; runpy.run_module('runstead.cli', run_name='__main__', alter_sys=True)"


def _lived(log: Path, arguments: list[str], env: Mapping[str, str], program: str | None = None) -> tuple[int, str]:
    """Its exit code and output."""
    theirs, ours = os.pipe()
    with log.open("wb") as file:
        process = started(arguments, program=program, parent_fd=theirs, log=file, env=env)
    os.close(theirs)
    code = process.wait(30)
    os.close(ours)
    return code, log.read_text()


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["serve", "--config", "nowhere.json"], {}),
        (["serve", "--nonsense"], {}),
        (["serve", "--config", str(GRAPHS)], {"RUNSTEAD_PORT": "no number"}),
        (["worker", "--config", str(GRAPHS)], {}),
    ],
)
def test_forked_server_exits_with_the_output_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], variables: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    env = {**os.environ, **variables, "TERM": "dumb"}
    born = _lived(tmp_path / "born.log", arguments, env)
    assert born == _lived(tmp_path / "started.log", arguments, env, _FROM_NOTHING)
    assert born[0] != 0
    assert born[1]


def test_forked_server_reports_its_signal(tmp_path: Path) -> None:
    theirs, ours = os.pipe()
    with (tmp_path / "log").open("wb") as log:
        arguments = ["serve", "--port", "0", "--data-dir", str(tmp_path / "data"), "--config", str(GRAPHS)]
        process = started(arguments, parent_fd=theirs, log=log, env=os.environ)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    assert (process.wait(10), process.poll()) == (-signal.SIGKILL, -signal.SIGKILL)
    for end in (theirs, ours):
        os.close(end)


@pytest.mark.skipif(os.environ.get("RUNSTEAD_LONG") == "1", reason="each is started from nothing")
def test_forked_server_ends_with_its_parent(tmp_path: Path) -> None:
    theirs, ours = os.pipe()
    with (tmp_path / "log").open("wb") as log:
        arguments = ["serve", "--port", "0", "--data-dir", str(tmp_path / "data"), "--config", str(GRAPHS)]
        process = started(arguments, parent_fd=theirs, log=log, env=os.environ)
    os.close(theirs)
    assert isinstance(process, Fork)
    os.close(ours)
    assert process.wait(20) in (0, -signal.SIGTERM)
