"""The table of what runs and waits, and the costs of runs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt
from typing_extensions import TypedDict

from runstead import Application
from runstead.cli.costs import cost_text
from runstead.cli.output import Output
from runstead.cli.run_lines import RunLines
from runstead.testing import ScriptedModel
from runstead.testing.local_server import local_server

from .processes import Done, Terminal

Run = Callable[..., Done]


class Chat(TypedDict):
    messages: Annotated[list[Any], add_messages]


async def _sleep(state: Chat) -> Any:
    await asyncio.Event().wait()


def _ask(state: Chat) -> Any:
    return {"messages": [AIMessage(str(interrupt({"question": "really?"})))]}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    graphs = {
        "sleeper-with-a-long-name": StateGraph(Chat).add_node("sleep", _sleep).add_edge(START, "sleep").compile(),
        "asker": StateGraph(Chat).add_node("ask", _ask).add_edge(START, "ask").compile(),
        "priced": create_agent(ScriptedModel("hello to you " * 50, name="gpt-4o-mini")),
        "free": create_agent(ScriptedModel("hello to you", name="my-own-model")),
    }
    data = tmp_path_factory.mktemp("top")
    lines = RunLines(Output(as_json=True), lambda: application.services)
    application = Application(graphs, port=0, data_dir=data, observers=[lines], shutdown_grace_seconds=0)
    with local_server(application) as url:
        yield url


def test_top_shows_what_runs_and_waits_in_80_columns(url: str, invoke: Run, terminal: Callable[..., Terminal]) -> None:
    assert invoke("top", "--once", "--url", url).out == "nothing runs or waits\n"
    import httpx

    thread = httpx.post(f"{url}/threads", json={}).json()["thread_id"]
    body = {"assistant_id": "sleeper-with-a-long-name", "input": {"messages": []}}
    first, second = (httpx.post(f"{url}/threads/{thread}/runs", json=body).json()["run_id"] for _ in range(2))
    invoke("run", "asker", "hi", "--url", url, "--json")
    shown = terminal("top", "--url", url)
    shown.wait_for("run ")
    shown.wait_for("question")
    live = terminal("top", "--once", "--url", url)
    assert live.end() == 0
    lines = live.shown.replace("\r", "").splitlines()
    assert max(map(len, lines)) <= 80, lines
    assert [re.split(r"  +", line)[2] for line in lines] == ["status", "running", "pending", "waits"]
    assert first[:8] in lines[2]
    activity = json.loads(invoke("top", "--once", "--json", "--url", url).out)["activity"]
    assert [(one["status"], one["run"]["run_id"]) for one in activity][:2] == [("running", first), ("pending", second)]
    assert (activity[0]["reason"], activity[0]["step"]) == ("sleep", 0)
    assert activity[1]["reason"] == f"run {first[:13]} of its thread"
    assert activity[2]["reason"] == '{"question": "really?"}'
    shown.press("\x03")
    assert shown.end() == 0
    httpx.post(f"{url}/threads/{thread}/runs/{second}/cancel")
    httpx.post(f"{url}/threads/{thread}/runs/{first}/cancel", params={"wait": True})


def test_costs_are_in_the_table_and_on_the_page_of_a_run(url: str, invoke: Run) -> None:
    assert invoke("run", "priced", "hi", "--url", url).exit_code == 0
    priced = invoke("runs", "show", "last", "--url", url)
    assert re.search(r"cost +(<\$0\.0001|\$0\.\d{4})\n", priced.out), priced.out
    assert invoke("run", "free", "hi", "--url", url).exit_code == 0
    assert re.search(r"cost +unpriced\n", invoke("runs", "show", "last", "--url", url).out)
    lines = invoke("runs", "ls", "--url", url).out.splitlines()
    assert re.search(r" free +success .* unpriced ", lines[1])
    assert re.search(r" priced +success .* <?\$0\.", lines[2])
    (run,) = invoke("runs", "ls", "--limit", "1", "--url", url, "--json").of("run")
    assert (run["cost"]["usd"], run["cost"]["unpriced"]) == (None, ["my-own-model"])


def test_costs_are_short() -> None:
    texts = [cost_text(usd, unpriced) for usd, unpriced in ((None, []), (None, ["m"]), (0.5, ["m"]), (0.00001, []))]
    assert texts == ["-", "unpriced", "$0.5000+?", "<$0.0001"]
    assert cost_text(1234.5, []) == "$1,234.50"


def test_long_columns_are_cut_so_that_a_table_fits(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(width=40)
    output.table(("id", "name", "text"), [("0123456789", "a name that is long", "a text that is longer")], empty="")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40
    assert lines[1].startswith("0123456789  a name")
