"""The code named by langgraph.json is loaded once, and the loaded objects are served."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from runstead.bootstrap.application import Application
from runstead.graphs.configuration import read_configuration
from runstead.settings import load_settings
from tests.servers.sqlite import current_data

AGENT = """
from pathlib import Path
from langgraph.graph import START, MessagesState, StateGraph


def __getattr__(name):
    if name != "graph":
        raise AttributeError(name)
    with Path(__file__).with_name("looked-up").open("a") as file:
        file.write("x")
    return StateGraph(MessagesState).add_node("say", lambda state: {}).add_edge(START, "say").compile()
"""


async def test_served_graph_is_the_one_loaded_at_start(tmp_path: Path) -> None:
    (tmp_path / "agent_looked_up.py").write_text(AGENT)
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"agent": "./agent_looked_up.py:graph"}}))
    settings = load_settings({"data_dir": current_data(tmp_path / "data"), "port": 0}, project=tmp_path)
    application = Application(settings, read_configuration(config))
    transport = httpx.ASGITransport(application.asgi)
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        given = {"assistant_id": "agent", "input": {"messages": [{"role": "user", "content": "hello"}]}}
        answer = await client.post("/runs/wait", json=given)
        assert answer.status_code == 200, answer.text
    assert (tmp_path / "looked-up").read_text() == "x"
