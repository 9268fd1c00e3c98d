"""The terminal of a server shows one line for each run."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from runstead import Application
from runstead.cli.output import Output
from runstead.cli.run_lines import RunLines
from runstead.gateway.services import Services
from runstead.testing.local_server import local_server


class State(TypedDict, total=False):
    kind: str


def _act(state: State) -> Any:
    if state["kind"] == "fails":
        raise ValueError("nothing works")
    return {"kind": interrupt("really?")} if state["kind"] == "asks" else {}


def test_each_run_that_ends_has_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = StateGraph(State).add_node("act", _act).add_edge(START, "act").compile()
    lines = RunLines(Output(), lambda: application.services)
    application = Application({"agent": graph}, port=0, data_dir=tmp_path, observers=[lines])
    with local_server(application) as url:
        for kind in ("works", "fails", "asks"):
            thread = httpx.post(f"{url}/threads", json={}).json()["thread_id"]
            body = {"assistant_id": "agent", "input": {"kind": kind}}
            httpx.post(f"{url}/threads/{thread}/runs/wait", json=body, timeout=30)
    lines.drain()
    shown = capsys.readouterr().out.splitlines()
    assert sorted(line.split("  ")[0:2] for line in shown) == [
        ["+ agent", "success"],
        ["? agent", "waits"],
        ["x agent", "error"],
    ]
    assert any("ValueError: nothing works" in line for line in shown)


async def test_line_is_printed_without_reading_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def services() -> Services:
        raise AssertionError("the event has the run")

    graph = StateGraph(State).add_node("act", _act).add_edge(START, "act").compile()
    lines = RunLines(Output(), services)
    application = Application({"agent": graph}, port=0, data_dir=tmp_path, observers=[lines])
    with local_server(application) as url:
        body = {"assistant_id": "agent", "input": {"kind": "works"}}
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            assert (await client.post("/runs/wait", json=body)).status_code == 200
    lines.drain()
    assert "+ agent  success" in capsys.readouterr().out


async def test_terminal_that_is_not_read_does_not_stop_the_server(tmp_path: Path) -> None:
    class Stopped(Output):
        def say(self, text: str = "", *, style: str | None = None, end: str = "\n") -> None:
            released.wait(60)

    released = threading.Event()
    graph = StateGraph(State).add_node("act", _act).add_edge(START, "act").compile()
    lines = RunLines(Stopped(), lambda: application.services)
    application = Application({"agent": graph}, port=0, data_dir=tmp_path, observers=[lines])
    with local_server(application) as url:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            for _ in range(3):
                body = {"assistant_id": "agent", "input": {"kind": "works"}}
                assert (await client.post("/runs/wait", json=body)).status_code == 200
    released.set()
