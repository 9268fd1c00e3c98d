"""The demo proves its claims, asks when requested, cleans up after itself, and makes no external connection."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runstead.cli.demo.reader import ThreadReader, differences
from runstead.cli.demo.run import DemoRun
from runstead.cli.output import CommandError, Output
from runstead.cli.server_process import ServerProcess

from .processes import CTRL_C, Background, Done, Terminal

LISTENING_IN = '''
"""Loaded by every Python process of the test: writes down whom it talks to, and lets it talk to this machine alone."""
import json, os, sys

TALKING = ("socket.connect", "socket.sendto")
ASKING = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")

def _hear(event, arguments):
    if event in TALKING + ASKING:
        place = arguments[1] if event in TALKING else arguments[0]
        host = place[0] if isinstance(place, tuple) else place
        host = host.decode() if isinstance(host, bytes) else host
        with open(os.environ["HEARD"], "a") as file:
            file.write(json.dumps([event, str(host)]) + "\\n")
        if host not in ("127.0.0.1", "::1", "localhost", None) and not str(host).startswith("/"):
            raise PermissionError(f"a call to {host}")

with open(os.environ["HEARD"], "a") as file:
    file.write(json.dumps(["process", str(os.getpid())]) + "\\n")
sys.addaudithook(_hear)
'''


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pids_in(text: str) -> list[int]:
    return [int(pid) for pid in re.findall(r"pid (\d+)", text)]


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("heard")
    (place / "sitecustomize.py").write_text(LISTENING_IN)
    return place


@pytest.fixture(scope="module")
def shown(runstead: Callable[..., Done], heard: Path) -> Done:
    """One complete demo, with all its connections recorded."""
    (heard / "tmp").mkdir()
    return runstead("demo", "--json", PYTHONPATH=str(heard), HEARD=str(heard / "heard"), TMPDIR=str(heard / "tmp"))


def test_killed_run_has_the_outcome_of_an_undisturbed_one(shown: Done) -> None:
    assert shown.exit_code == 0, shown
    (outcome,) = shown.of("outcome")
    assert outcome["same"]
    assert [(run["status"], run["attempt"]) for run in outcome["runs"]] == [("success", 2), ("success", 1)]
    assert outcome["tools"] == {"lookup_invoice": 1, "send_payment": 1}
    assert outcome["messages"][-1].startswith("Done. 1280.50 EUR were paid after your approval")
    assert all(run["completion"]["total_tokens"] > 0 for run in outcome["runs"])


def test_timeline_shows_the_kill_and_the_restart(shown: Done) -> None:
    told = [entry["what"] for entry in shown.of("timeline")]
    kill = [what.startswith("killing the process that executes the run") for what in told].index(True)
    assert told[kill + 1].startswith("starting a new process on the same data")
    assert "attempt 2 continues" in told[kill + 2]
    assert shown.of("timeline")[-1]["at"] < 30


def test_demo_leaves_no_process_and_no_file(shown: Done, heard: Path) -> None:
    pids = {pid for entry in shown.of("timeline") for pid in pids_in(entry["what"])}
    assert len(pids) == 2
    assert not [pid for pid in pids if is_alive(pid)]
    assert list((heard / "tmp").iterdir()) == []


def test_demo_makes_no_external_connection(shown: Done, heard: Path) -> None:
    calls = [json.loads(line) for line in (heard / "heard").read_text().splitlines()]
    pids = {int(pid) for event, pid in calls if event == "process"}
    assert pids.issuperset(pid for entry in shown.of("timeline") for pid in pids_in(entry["what"])), "a deaf server"
    assert ["socket.connect", "127.0.0.1"] in calls, "a deaf reader"
    assert {host for event, host in calls if event != "process"} <= {"127.0.0.1", "::1", "localhost", "None"}


def test_socket_audit_detects_an_external_connection(
    runstead: Callable[..., Done], heard: Path, tmp_path: Path
) -> None:
    # Precondition of the test above: a connection is recorded and refused.
    away = ("runs", "ls", "--url", "http://203.0.113.1:80")
    done = runstead(*away, PYTHONPATH=str(heard), HEARD=str(tmp_path / "heard"))
    assert done.exit_code == 1
    assert "203.0.113.1" in (tmp_path / "heard").read_text()


def test_person_may_refuse_the_payment(terminal: Callable[..., Terminal]) -> None:
    demo = terminal("demo", "--ask")
    demo.wait_for("n = reject", seconds=60)
    demo.press("n\n")
    demo.wait_for("reason")
    demo.press("too much\n")
    demo.wait_for("nothing was paid")
    demo.wait_for("ended in exactly the same state")
    assert demo.end() == 0


@pytest.mark.parametrize("moment", ["starting a server", "creating a run", "starting a new process"])
def test_ctrl_c_ends_all_processes(moment: str, terminal: Callable[..., Terminal]) -> None:
    demo = terminal("demo")
    seen = ""
    demo.wait_for(moment, seconds=60)
    time.sleep(0.2)
    demo.press(CTRL_C)
    assert demo.end() == 130
    seen += demo.shown
    assert "Traceback" not in seen
    assert not [pid for pid in pids_in(seen) if is_alive(pid)]


def test_server_ends_when_the_demo_is_killed(background: Callable[..., Background]) -> None:
    demo = background("demo", "--json")
    pid = pids_in(demo.wait_for("timeline")["what"] + demo.wait_for("timeline")["what"])[0]
    demo.end(signal.SIGKILL)
    until = time.monotonic() + 20
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_alive(pid)


def test_server_start_failure_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        child = ServerProcess(["runstead.graphs.demo:nothing"], listening, log=tmp_path / "log")
        play = DemoRun(Output(as_json=True), child, f"http://127.0.0.1:{listening.getsockname()[1]}", ask=False)
        with pytest.raises(ExceptionGroup) as caught:
            asyncio.run(play.perform())
    assert caught.group_contains(CommandError, match="the server ended by itself, with exit code 1")
    assert "has no variable 'nothing'" in (tmp_path / "log").read_text()


def test_different_outcome_is_detected() -> None:
    def reader(text: str, message_id: str, *tools: str) -> ThreadReader:
        made = ThreadReader("t", lambda item: None, state={"messages": [{"id": message_id, "content": text}]})
        made.tools.update(tools)
        return made

    assert list(differences(reader("a", "1", "pay"), reader("a", "2", "pay"))) == []
    assert list(differences(reader("a", "1"), reader("b", "1"))) == ["the final states differ"]
    assert "tools were executed" in next(differences(reader("a", "1", "pay", "pay"), reader("a", "1", "pay")))
    nothing = ThreadReader("t", lambda item: None)
    assert list(differences(nothing, nothing)) == ["there is no final state to compare"]
