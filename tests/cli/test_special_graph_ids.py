"""Graph ids may be any text: output, quoting, links and look-ups work for spaces, slashes, quotes and letters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from langgraph_sdk import get_sync_client
from typer.testing import CliRunner

from runstead.cli.main import app
from tests.author.serving import server_for

GRAPH = Path(__file__).parent.parent / "graphs" / "recorded.py"
IDS = ("my graph/é", "100% #?&=;+", "<b>it's</b>", '"quoted\\', "..", "名前 🦉")
HELLO: dict[str, Any] = {"messages": [{"role": "human", "content": "hi"}]}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("odd") / "langgraph.json"
    file.write_text(json.dumps({"graphs": dict.fromkeys(IDS, f"{GRAPH}:agent"), "dependencies": []}))
    return file


@pytest.fixture(scope="module")
def url(config: Path) -> Iterator[str]:
    with server_for(config, config.parent) as url:
        yield url


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30) as http:
        yield http


def commanded(url: str, *arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments, "--url", url])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("name", IDS)
def test_location_headers_lead_to_its_runs(name: str, http: httpx.Client) -> None:
    thread = http.post("/threads", json={"metadata": {"graph_id": name}}).json()["thread_id"]
    body = {"assistant_id": name, "input": HELLO}
    for path in ("/runs", f"/threads/{thread}/runs", f"/threads/{thread}/runs/wait", f"/threads/{thread}/runs/stream"):
        answer = http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        for header in ("location", "content-location"):
            if place := answer.headers.get(header):
                assert place.isascii()
                assert http.get(urlsplit(place).path).status_code == 200, place
    assert "location" in answer.headers or "content-location" in answer.headers
    (run, *_) = http.get(f"/threads/{thread}/runs").json()
    assert run["metadata"]["graph_id"] == name
    assert http.post("/threads/search", json={"metadata": {"graph_id": name}}).json()[0]["thread_id"] == thread


@pytest.mark.parametrize("name", IDS)
def test_sdk_finds_its_assistant_and_describes_it(name: str, url: str) -> None:
    client: Any = get_sync_client(url=url, api_key=None)
    (found,) = client.assistants.search(graph_id=name)
    assert found["graph_id"] == name
    assert client.assistants.get_schemas(found["assistant_id"])["graph_id"] == name
    assert client.assistants.get_graph(found["assistant_id"])["nodes"]
    assert client.runs.wait(None, name, input=HELLO)["messages"][-1]["content"] == "echo: hi"
    cron = client.crons.create(name, schedule="0 0 1 1 *", input=HELLO)
    assert client.crons.search(assistant_id=found["assistant_id"])[0]["cron_id"] == cron["cron_id"]


def test_docs_page_and_openapi_document_are_valid(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert page.status_code == 200
    assert "<b>it's</b>" not in page.text
    description = http.get("/openapi.json").json()
    assert description["paths"]
    assert http.get("/info").status_code == 200


@pytest.mark.parametrize("name", ["no such/é", "../..", "名前\n", "\x85", "%00", "%2e%2e"])
def test_unknown_graph_id_is_refused_with_a_detail(name: str, http: httpx.Client) -> None:
    refused = http.post("/runs/wait", json={"assistant_id": name, "input": HELLO})
    assert refused.status_code in (404, 422), refused.text
    assert refused.json()["detail"]
    assert http.get(f"/assistants/{quote(name, safe='')}").status_code in (404, 422)


@pytest.mark.parametrize("name", IDS)
def test_commands_run_and_list_the_graph(name: str, url: str) -> None:
    assert "echo: hello there" in commanded(url, "run", name, "hello there")
    assert name.split()[0] in commanded(url, "runs", "ls")


def test_doctor_lists_all_graphs(config: Path) -> None:
    place = ["--config", str(config), "--data-dir", str(config.parent / "none")]
    lines = CliRunner().invoke(app, ["doctor", *place, "--json"]).output.splitlines()
    said = [line["detail"] for line in map(json.loads, lines) if line.get("subject") == "graph"]
    assert [name for name in IDS if not any(one.startswith(f"{name} (") for one in said)] == []
