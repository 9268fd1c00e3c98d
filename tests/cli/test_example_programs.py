"""The programs in examples/ work with the real command, as their READMEs describe."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import jwt
import pytest
from langgraph_sdk import get_sync_client

from runstead.cli.servers.postgres import NoPostgres, find_binaries
from runstead.cli.servers.valkey import NoValkey, find_binary
from tests.docs.pages import ROOT

from .processes import Background, Done

EXAMPLES: Final = ROOT / "examples"
TESTED: Final = {
    "chat_agent", "human_approval", "subagents", "custom_app", "jwt_auth", "graph_per_user", "two_workers",
}  # fmt: skip
SECRET: Final = "a-secret-of-this-test-with-32-chars"
Start = Callable[..., str]


@pytest.fixture
def serve(background: Callable[..., Background], tmp_path: Path) -> Iterator[Start]:
    """Start an example with the command of its README and return the server's URL."""
    started: list[Background] = []

    def start(example: str, command: str, **environ: str) -> str:
        options = ("--port", "0", "--data-dir", str(tmp_path / "data"), "--json")
        started.append(background(command, *options, cwd=EXAMPLES / example, **environ))
        return str(started[-1].wait_for("started")["url"])

    yield start
    for server in started:
        assert server.end() == 0


def asking(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def test_every_example_is_tested_and_has_its_files() -> None:
    folders = {folder.name for folder in EXAMPLES.iterdir() if folder.is_dir()}
    assert folders == TESTED
    index = (EXAMPLES / "README.md").read_text()
    for name in folders:
        assert {"README.md", "agent.py", "langgraph.json"} <= {file.name for file in (EXAMPLES / name).iterdir()}
        assert f"[{name}]({name})" in index


def test_chat_agent_streams_its_answer_in_pieces(serve: Start, invoke: Callable[..., Done]) -> None:
    url = serve("chat_agent", "dev")
    stream = get_sync_client(url=url).runs.stream(None, "agent", input=asking("weather?"), stream_mode="messages-tuple")
    pieces = [part.data[0] for part in stream if part.event == "messages"]
    text = "".join(piece["content"] for piece in pieces if piece["type"] == "AIMessageChunk")
    assert text == "Let me look.It is sunny in Lisbon, 22 degrees."
    assert len(pieces) > 8
    assert "sunny in Lisbon" in invoke("run", "agent", "weather?", "--url", url).out


def test_human_approval_waits_and_sends_after_the_answer(serve: Start) -> None:
    client = get_sync_client(url=serve("human_approval", "serve"))
    thread_id = client.threads.create()["thread_id"]
    stopped: Any = client.runs.wait(thread_id, "agent", input=asking("Tell Ada"))
    assert stopped["__interrupt__"][0]["value"]["action_requests"][0]["name"] == "send_email"
    assert client.threads.get(thread_id)["status"] == "interrupted"
    done: Any = client.runs.wait(thread_id, "agent", command={"resume": {"decisions": [{"type": "approve"}]}})
    assert [message["content"] for message in done["messages"][-2:]] == [
        "sent to ada@example.org: The report is ready.",
        "The e-mail is out.",
    ]


def test_subagents_are_in_the_stream_of_their_supervisor(serve: Start) -> None:
    client = get_sync_client(url=serve("subagents", "dev"))
    parts = list(
        client.runs.stream(None, "agent", input=asking("x"), stream_mode=["updates", "values"], stream_subgraphs=True)
    )
    inner = [json.dumps(part.data) for part in parts if part.event.startswith("updates|tools:")]
    assert any("Fact: the first lighthouse" in data for data in inner)
    last: Any = [part.data for part in parts if part.event == "values"][-1]
    assert last["messages"][-1]["content"].startswith("Long before maps")


def test_custom_app_answers_beside_the_api(serve: Start) -> None:
    url = serve("custom_app", "dev")
    assert httpx.post(f"{url}/ask", json={"text": "?"}, timeout=30).json() == {"answer": "Forty-two.", "asked": 1}
    assert {"/ask", "/threads"} <= set(httpx.get(f"{url}/openapi.json").json()["paths"])


def test_jwt_users_are_checked_and_kept_apart(serve: Start) -> None:
    url = serve("jwt_auth", "serve", JWT_SECRET=SECRET)

    def client(user: str, secret: str = SECRET, expires_in: float = 60) -> httpx.Client:
        token = jwt.encode({"sub": user, "exp": time.time() + expires_in}, secret)
        return httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=30)

    thread_id = client("ada").post("/threads", json={}).json()["thread_id"]
    body = {"assistant_id": "agent", "input": {"messages": []}}
    values = client("ada").post(f"/threads/{thread_id}/runs/wait", json=body).json()
    assert values["messages"][-1]["content"] == "Hello, ada."
    assert client("bob").get(f"/threads/{thread_id}").status_code == 404
    for refused in (
        client("ada", secret="another-secret-with-more-than-32-chars"),
        client("ada", expires_in=-60),
        httpx.Client(base_url=url),
    ):
        assert refused.get(f"/threads/{thread_id}").status_code == 401


def test_factory_builds_another_graph_for_each_user(serve: Start) -> None:
    client = get_sync_client(url=serve("graph_per_user", "dev"))

    def answer(user: str) -> str:
        config: Any = {"configurable": {"user_id": user}}
        values: Any = client.runs.wait(None, "agent", input=asking("Find ships"), config=config)
        return str(values["messages"][-1]["content"])

    assert (answer("ada"), answer("bob")) == ("I found three documents.", "Your plan has no archive.")


@pytest.mark.timeout(180)
def test_two_workers_share_the_runs(background: Callable[..., Background], tmp_path: Path) -> None:
    try:
        find_binaries()
        find_binary()
    except (NoPostgres, NoValkey) as error:
        pytest.skip(f"missing server: {error}")
    options = ("--port", "0", "--data-dir", str(tmp_path / "data"), "--workers", "2", "--json")
    cluster = background("cluster", *options, cwd=EXAMPLES / "two_workers")
    url = str(cluster.wait_for("cluster")["url"])
    for _ in range(3):
        cluster.wait_for("started")
    client = get_sync_client(url=url)
    threads = [client.threads.create()["thread_id"] for _ in range(4)]
    runs = [client.runs.create(thread, "agent", input={"seconds": 1}) for thread in threads]
    joined: list[Any] = [client.runs.join(thread, run["run_id"]) for thread, run in zip(threads, runs, strict=True)]
    assert len({values["worker"] for values in joined}) == 2
    assert cluster.end() == 0
