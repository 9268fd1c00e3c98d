"""`dev` loses no run by reloading, and reports the error while the code is broken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from .processes import Background

Start = Callable[..., Background]

pytestmark = pytest.mark.timeout(300)
WITHIN = 90.0

GRAPHS = """
import ctypes
import time
from pathlib import Path
from typing import TypedDict

from langgraph.graph import START, StateGraph

HERE = Path(__file__).parent
VERSION = 0


class State(TypedDict, total=False):
    version: int


def _begin():
    with (HERE / "begun").open("a") as file:
        file.write("begun\\n")


def _held():
    return (HERE / "hold").exists()


def _blocks_thread(state):
    _begin()
    while _held():
        time.sleep(0.02)
    return {"version": VERSION}


async def _blocks_loop(state):
    return _blocks_thread(state)


def _blocks_interpreter(state):
    # Read before the test learns that the node has begun, since the test releases it at once.
    held = _held()
    _begin()
    if held:
        # Unlike `time.sleep`, it keeps Python's global lock: no other thread runs any more.
        ctypes.PyDLL(None).sleep(600)
    return {"version": VERSION}


def _graph(node):
    return StateGraph(State).add_node("node", node).add_edge(START, "node").compile()


blocks_thread = _graph(_blocks_thread)
blocks_loop = _graph(_blocks_loop)
blocks_interpreter = _graph(_blocks_interpreter)
"""


@dataclass
class Project:
    """A project served by ``dev``, and edits to it."""

    place: Path
    dev: Background
    url: str = ""
    version: int = 0

    def begin(self, graph: str) -> str:
        """Start a run that blocks in its node; return its location."""
        (self.place / "hold").touch()
        thread_id = httpx.post(f"{self.url}/threads", json={}).json()["thread_id"]
        run = httpx.post(f"{self.url}/threads/{thread_id}/runs", json={"assistant_id": graph, "input": {}}).json()
        self.until_begun(1)
        return f"{self.url}/threads/{thread_id}/runs/{run['run_id']}"

    def until_begun(self, times: int) -> None:
        """Wait until the node has started this number of times."""
        begun, until = self.place / "begun", time.monotonic() + WITHIN
        while not begun.exists() or len(begun.read_text().splitlines()) < times:
            assert time.monotonic() < until, f"the node was not begun {times} times"
            time.sleep(0.02)

    def save(self) -> None:
        """Change the code."""
        self.version += 1
        self.change(f"VERSION = {self.version - 1}", f"VERSION = {self.version}")

    def change(self, before: str, after: str) -> None:
        file = self.place / "agent.py"
        file.write_text(file.read_text().replace(before, after))

    def release(self) -> None:
        (self.place / "hold").unlink()

    def until_status(self, status: int) -> httpx.Response:
        """Request until the response has this status: servers stop and start."""
        until = time.monotonic() + WITHIN
        while (answer := httpx.get(f"{self.url}/info", timeout=WITHIN)).status_code != status:
            assert time.monotonic() < until, f"no {status}, but: {answer.status_code} {answer.text}"
            time.sleep(0.05)
        return answer


@pytest.fixture
def start(tmp_path: Path, background: Start) -> Iterator[Callable[..., Project]]:
    started: list[Project] = []

    def begin(*graphs: str, **settings: Any) -> Project:
        (tmp_path / "agent.py").write_text(GRAPHS)
        assigned = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        targets = [f"agent.py:{graph}" for graph in graphs]
        place = ["--port", "0", "--data-dir", str(tmp_path / "data")]
        project = Project(tmp_path, background("dev", *targets, *place, "--json", *assigned, cwd=tmp_path))
        project.url = project.dev.wait_for("started")["url"]
        started.append(project)
        return project

    yield begin
    for project in started:
        assert project.dev.end() == 0


@pytest.mark.parametrize("graph", ["blocks_thread", "blocks_loop"])
def test_run_succeeds_after_three_saves_during_a_node(start: Callable[..., Project], graph: str) -> None:
    project = start(graph)
    location = project.begin(graph)
    for save in range(1, 4):
        project.save()
        project.until_begun(save + 1)
    project.release()
    values = httpx.get(f"{location}/join", timeout=WITHIN).json()
    run = httpx.get(location).json()
    assert (run["status"], run["dead_letter"]) == ("success", False)
    # Executed by the code that was saved last.
    assert values == {"version": 3}


def test_reload_costs_no_attempt_when_code_blocks_the_loop(start: Callable[..., Project]) -> None:
    project = start("blocks_interpreter", max_attempts=1)
    location = project.begin("blocks_interpreter")
    project.release()
    project.save()
    project.until_begun(2)
    assert httpx.get(f"{location}/join", timeout=WITHIN).json() == {"version": 1}
    assert httpx.get(location).json()["status"] == "success"


def test_server_crash_costs_its_runs_an_attempt(start: Callable[..., Project]) -> None:
    project = start("blocks_thread", max_attempts=1)
    project.change("    _begin()\n", "    _begin()\n    import os\n    os._exit(3)\n")
    project.dev.wait_for("started")
    location = project.begin("blocks_thread")
    assert project.dev.wait_for("died")["exit_code"] == 3
    assert "ended with exit code 3" in project.until_status(503).json()["detail"]
    project.save()
    project.dev.wait_for("started")
    # The lost attempt is noticed in parallel with the start, which does not wait.
    httpx.get(f"{location}/join", timeout=WITHIN)
    assert httpx.get(location).json()["dead_letter"]


def test_broken_code_answers_with_its_error_until_fixed(start: Callable[..., Project]) -> None:
    project = start("blocks_thread")
    location = project.begin("blocks_thread")
    project.change("def _blocks_thread(state):", "def _blocks_thread(state:")
    answer = project.until_status(503)
    detail = answer.json()["detail"]
    assert "SyntaxError" in detail
    assert "def _blocks_thread(state:" in detail
    assert answer.headers["retry-after"] == "1"
    # Every route and method, with bodies, immediately.
    before = time.monotonic()
    assert httpx.post(f"{project.url}/threads", json={"metadata": {"text": "x" * 100_000}}).status_code == 503
    assert httpx.get(f"{location}/join").json()["detail"] == detail
    assert time.monotonic() - before < 5
    # Another mistake gives another response.
    project.change("def _blocks_thread(state:", "1 / 0\ndef _blocks_thread(state):")
    until = time.monotonic() + WITHIN
    while "ZeroDivisionError" not in (answer := project.until_status(503)).json()["detail"]:
        assert time.monotonic() < until
    assert "1 / 0" in answer.json()["traceback"]
    project.release()
    project.change("1 / 0\n", "")
    project.until_status(200)
    assert httpx.get(f"{location}/join", timeout=WITHIN).json() == {"version": 0}
    assert httpx.get(location).json()["status"] == "success"


def test_error_text_is_hidden_when_show_errors_is_false(start: Callable[..., Project]) -> None:
    project = start("blocks_thread", show_errors="false")
    project.change("def _blocks_thread(state):", "def _blocks_thread(state:")
    answer = project.until_status(503)
    assert "SyntaxError" not in answer.text
    assert "runstead dev" in answer.json()["detail"]
