"""A whole cluster with one command: it serves, stops with the command, and keeps its data for the next start."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from langgraph_sdk import get_sync_client

from runstead.cli.servers.postgres import NoPostgres, find_binaries
from runstead.cli.servers.valkey import NoValkey, find_binary

from .processes import Background

Start = Callable[..., Background]
THREAD: Final = "1b2c3d4e-0000-4000-8000-000000000001"


@pytest.fixture(autouse=True)
def _servers_are_there() -> None:
    try:
        find_binaries()
        find_binary()
    except (NoPostgres, NoValkey) as error:
        pytest.skip(f"missing server: {error}")


@pytest.mark.timeout(180)
def test_cluster_serves_stops_and_restarts(background: Start, project: Path, tmp_path: Path) -> None:
    heard = []
    for said in ("hello", "again"):
        cluster = background(
            *("cluster", "--port", "0", "--data-dir", str(tmp_path / "data"), "--workers", "1", "--json"), cwd=project
        )
        url = str(cluster.wait_for("cluster")["url"])
        started = [cluster.wait_for("started") for _ in range(2)]
        client = get_sync_client(url=url)
        question: Any = {"messages": [{"role": "human", "content": said}]}
        values: Any = client.runs.wait(THREAD, "greeter", input=question, if_not_exists="create")
        heard.append([message["content"] for message in values["messages"]])
        assert cluster.end() == 0
        assert not any(_lives(int(one["pid"])) for one in started)
    answer = "hello to you"
    assert heard == [["hello", answer], ["hello", answer, "again", answer]]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
