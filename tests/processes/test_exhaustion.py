"""A machine without free resources: a full disk, no file descriptors. No accepted run is lost."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.processes import Background, command_of
from tests.environment import child_environment
from tests.servers.disks import fill
from tests.servers.disks import small_disk as small_disk_at

pytestmark = pytest.mark.timeout(300)
WITHIN = 90.0

GRAPHS = """
import asyncio
from pathlib import Path
from typing import Annotated, TypedDict
from operator import add

from langgraph.graph import START, StateGraph

HERE = Path(__file__).parent


class State(TypedDict, total=False):
    log: Annotated[list, add]
    big: str


def step(number):
    async def node(state):
        with (HERE / "begun").open("a") as file:
            file.write(f"{number}\\n")
        while (HERE / f"hold{number}").exists():
            await asyncio.sleep(0.02)
        return {"log": [number], "big": "x" * 300_000}

    return node


steps = (
    StateGraph(State)
    .add_node("one", step(1)).add_node("two", step(2)).add_node("three", step(3))
    .add_edge(START, "one").add_edge("one", "two").add_edge("two", "three")
    .compile()
)


async def opening(state):
    (HERE / "begun").write_text("begun")
    while (HERE / "hold").exists():
        await asyncio.sleep(0.02)
    # As every client of a model or a database does.
    reader, writer = await asyncio.open_connection("127.0.0.1", state["port"])
    writer.close()
    return {"port": 1}


class Port(TypedDict):
    port: int


opener = StateGraph(Port).add_node("opening", opening).add_edge(START, "opening").compile()
"""


def until(true: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + WITHIN
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "agent.py").write_text(GRAPHS)
    return tmp_path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB."""
    place = tmp_path / "disk"
    with small_disk_at(place, "6m") as is_mounted:
        if not is_mounted:
            pytest.skip("missing right: to mount a small file system")
        yield place


def serve(project: Path, data: Path, *arguments: str) -> tuple[Background, str]:
    serving = Background(
        *("serve", "agent.py:steps", "agent.py:opener", "--port", "0", "--data-dir", str(data), "--json"),
        *arguments,
        cwd=project,
        home=project,
    )
    return serving, str(serving.wait_for("started")["url"])


def test_runs_in_flight_resume_when_disk_space_is_freed(project: Path, small_disk: Path) -> None:
    serving, url = serve(project, small_disk / "data")
    with httpx.Client(base_url=url, timeout=WITHIN) as client:
        (project / "hold1").touch()
        thread_id = client.post("/threads", json={}).json()["thread_id"]
        run = client.post(f"/threads/{thread_id}/runs", json={"assistant_id": "steps", "input": {}}).json()
        location = f"/threads/{thread_id}/runs/{run['run_id']}"
        until((project / "begun").exists, "the run did not begin")
        filler = fill(small_disk)
        (project / "hold1").unlink()
        refused = client.post("/threads", json={"metadata": {"big": "x" * 500_000}})
        assert refused.status_code == 507, refused.text
        answer = client.get("/ready")
        assert answer.status_code == 503
        assert "disk is full" in answer.json()["detail"]
        assert client.get("/ok").status_code == 200
        # Longer than a lease term.
        time.sleep(12)
        assert client.get(location).json()["status"] == "running"
        filler.unlink()
        values = client.get(f"{location}/join").json()
        assert values["log"] == [1, 2, 3]
        assert client.get(location).json()["status"] == "success"
        # No node was executed twice.
        assert (project / "begun").read_text().split() == ["1", "2", "3"]
        assert client.get("/ready").status_code == 200
    assert serving.end() == 0


def test_start_on_a_full_disk_prints_one_sentence(project: Path, small_disk: Path) -> None:
    (small_disk / "data").mkdir()
    fill(small_disk)
    done = subprocess.run(
        command_of("serve", "agent.py:steps", "--port", "0", "--data-dir", str(small_disk / "data")),
        cwd=project,
        env=child_environment({"HOME": str(project)}),
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert str(small_disk / "data") in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_accepted_run_is_released_without_file_descriptors(project: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        (project / "hold").touch()
        serving, url = serve(project, tmp_path / "data")
        log = Path(f"/proc/{serving.process.pid}/fd")
        client = stack.enter_context(httpx.Client(base_url=url, timeout=WITHIN))
        thread_id = client.post("/threads", json={}).json()["thread_id"]
        body = {"assistant_id": "opener", "input": {"port": listener.getsockname()[1]}}
        run = client.post(f"/threads/{thread_id}/runs", json=body).json()
        until((project / "begun").exists, "the run did not begin")
        limit = len(os.listdir(log)) + 5
        resource.prlimit(serving.process.pid, resource.RLIMIT_NOFILE, (limit, hard))
        host, port = url.removeprefix("http://").split(":")
        idle = [socket.create_connection((host, int(port))) for _ in range(60)]
        until(lambda: len(os.listdir(log)) >= limit, "descriptors are left")
        (project / "hold").unlink()
        time.sleep(8)
        for one in idle:
            one.close()
        resource.prlimit(serving.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
        location = f"/threads/{thread_id}/runs/{run['run_id']}"
        assert client.get(f"{location}/join").json() == {"port": 1}
        record = client.get(location).json()
        assert (record["status"], record["dead_letter"]) == ("success", False)
        assert record["attempt"] > 1
        assert serving.end() == 0


def test_connections_that_cannot_be_accepted_do_not_fill_the_log(project: Path, tmp_path: Path) -> None:
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(
        command_of("serve", "agent.py:steps", "--port", "0", "--data-dir", str(tmp_path / "data"), "--json"),
        cwd=project,
        env=child_environment({"HOME": str(project)}),
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = next(line.split('"url": "')[1].split('"')[0] for line in process.stdout if "started" in line)
        limit = len(os.listdir(f"/proc/{process.pid}/fd")) + 5
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (limit, limit))
        host, port = url.removeprefix("http://").split(":")
        idle = [socket.create_connection((host, int(port))) for _ in range(60)]
        time.sleep(6)
        for one in idle:
            one.close()
        until(lambda: httpx.get(f"{url}/ok", timeout=WITHIN).status_code == 200, "it does not answer")
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    log.seek(0)
    text = log.read()
    assert "socket.accept() out of system resource" in text
    assert len(text) < 30_000, text[-3000:]
