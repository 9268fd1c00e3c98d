"""``get_client()`` without a URL, in a node, returns a client of the server that runs the node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langgraph_sdk import get_sync_client

from .conftest import GRAPHS
from .serving import server_for


def test_client_without_url_reaches_the_server_of_its_node(client: Any) -> None:
    called = client.runs.wait(None, "calling", input={})
    assert called["said"] == "1+2j"
    for thread_id in called["thread_ids"]:
        assert client.threads.get(thread_id)["thread_id"] == thread_id


def test_run_pending_at_startup_reaches_its_server_immediately(tmp_path: Path) -> None:
    with server_for(GRAPHS, tmp_path, execute=False) as url:
        client = get_sync_client(url=url, api_key=None)
        thread_id = client.threads.create()["thread_id"]
        run = client.runs.create(thread_id, "calling", input={})
    with server_for(GRAPHS, tmp_path) as url:
        client = get_sync_client(url=url, api_key=None)
        called: Any = client.runs.join(thread_id, run["run_id"])
        assert called["said"] == "1+2j"
        assert client.runs.get(thread_id, run["run_id"])["status"] == "success"
