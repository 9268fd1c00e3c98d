"""Law 12: the server makes no external call that the user did not configure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.environment import child_environment

GRAPH = '''
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from runstead.graphs.scripted import ScriptedChatModel, turns

def look_up(city: str) -> str:
    """The weather."""
    return "sunny"

call = AIMessage("", tool_calls=[{"name": "look_up", "args": {"city": "Ulm"}, "id": "c-1"}])
agent = create_agent(ScriptedChatModel(script=turns(call, AIMessage("It is sunny."))), tools=[look_up])
'''

SERVE_ONE_RUN = '''
import asyncio, json, sys
from pathlib import Path

heard = []

def hear(event, arguments):
    """Whatever talks to another machine has to look it up or to connect to it first."""
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        heard.append([event, str(arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[0])])

sys.addaudithook(hear)

import httpx
from runstead.bootstrap.application import Application

async def main():
    application = Application.from_file("langgraph.json", data_dir=Path("data"))
    async with application.running():
        transport = httpx.ASGITransport(application.asgi)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            body = {"assistant_id": "agent", "input": {"messages": [{"role": "user", "content": "How is Ulm?"}]}}
            answer = (await client.post("/runs/wait", json=body)).json()
            (await client.get("/info")).raise_for_status()
    print(json.dumps({"said": answer["messages"][-1]["content"], "heard": heard}))

asyncio.run(main())
'''


def test_server_lifecycle_makes_no_external_call(tmp_path: Path) -> None:
    (tmp_path / "graph.py").write_text(GRAPH)
    (tmp_path / "langgraph.json").write_text(
        json.dumps({"dependencies": ["."], "graphs": {"agent": "./graph.py:agent"}})
    )
    # Nothing is disabled for it: a user's environment does not mention tracing either.
    done = subprocess.run(
        [sys.executable, "-c", SERVE_ONE_RUN],
        cwd=tmp_path,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["said"] == "It is sunny."
    assert outcome["heard"] == []
