"""Commands that call a server: login, references, tables, approvals, forks, and errors in the server's own words."""

from __future__ import annotations

import io
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt
from typing_extensions import TypedDict

from runstead import Application
from runstead.cli.chat import ask_for_input
from runstead.cli.client_command import ServerClient
from runstead.cli.output import CommandError, Output
from runstead.cli.references import _find
from runstead.cli.times import ago, duration
from runstead.cli.usage import show_usage
from runstead.graphs.scripted import ScriptedChatModel, turns
from runstead.testing.local_server import local_server

from .processes import Done, Terminal

Run = Callable[..., Done]
AUTH = """
from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> str:
    if authorization != "Bearer s3cret":
        raise Auth.exceptions.HTTPException(status_code=401, detail="Invalid token")
    return "alice"
"""
GRAPH = "from langgraph.func import entrypoint\n\n@entrypoint()\ndef graph(x: int) -> int:\n    return x + 1\n"


class Chat(TypedDict):
    messages: Annotated[list[Any], add_messages]


class Sum(TypedDict, total=False):
    numbers: list[int]
    label: str
    total: int


class SumInput(TypedDict):
    numbers: list[int]
    label: str


def _echo(state: Chat) -> Any:
    return {"messages": [AIMessage(f"heard {len(state['messages'])}: {state['messages'][-1].text}")]}


def _ask(state: Chat) -> Any:
    return {"messages": [AIMessage(f"the answer was {interrupt({'question': 'really [yes]?'})!r}")]}


def _add(state: Sum) -> Any:
    return {"total": sum(state["numbers"])}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    graphs = {
        "echo": StateGraph(Chat).add_node("echo", _echo).add_edge(START, "echo").compile(),
        "asker": StateGraph(Chat).add_node("ask", _ask).add_edge(START, "ask").compile(),
        "speaker": create_agent(ScriptedChatModel(script=turns(AIMessage("hello to you")))),
        "sum": StateGraph(Sum, input_schema=SumInput).add_node("add", _add).add_edge(START, "add").compile(),
    }
    data = tmp_path_factory.mktemp("client-commands")
    with local_server(Application(graphs, port=0, data_dir=data)) as url:
        yield url


def test_handler_of_langgraph_json_is_logged_in_to_with_a_header(tmp_path: Path, invoke: Run) -> None:
    (tmp_path / "auth.py").write_text(AUTH)
    (tmp_path / "agent.py").write_text(GRAPH)
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"agent": "./agent.py:graph"}, "auth": {"path": "./auth.py:auth"}}))
    with local_server(Application.from_file(config, port=0, data_dir=tmp_path / "data")) as url:
        login = ("--header", "Authorization: Bearer s3cret", "--url", url)
        assert invoke("run", "agent", "--input", "1", *login).exit_code == 0
        for command in (("webhooks", "ls"), ("runs", "ls"), ("threads", "ls"), ("approvals", "ls"), ("crons", "ls")):
            assert invoke(*command, *login).exit_code == 0, command
        refused = invoke("webhooks", "ls", "--url", url)
    assert refused.exit_code == 1
    assert "error: Invalid token" in refused.err
    assert "--header" in refused.err


@pytest.mark.parametrize("text", ["authorization", ": x"])
def test_malformed_header_is_a_usage_error(text: str, invoke: Run) -> None:
    done = invoke("runs", "ls", "--header", text)
    assert (done.exit_code, "write it as 'NAME: VALUE'" in done.err) == (2, True)


def test_api_key_header_becomes_the_key_of_the_client(url: str, invoke: Run) -> None:
    assert invoke("runs", "ls", "--header", "X-API-Key: k", "--url", url).exit_code == 0
    both = invoke("runs", "ls", "--header", "x-api-key: k", "--api-key", "k", "--url", url)
    assert (both.exit_code, "give one of the two" in both.err) == (2, True)


def test_unusable_server_is_described_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    from runstead.cli.connection import _unusable

    request = httpx.Request("GET", "http://h/ok")
    broken = {"detail": "graph 'a' cannot be loaded: SyntaxError", "traceback": 'File "agent.py", line 3\n'}
    problem = _unusable("http://h", httpx.Response(503, json=broken, request=request)).problem
    assert (
        problem
        == "the server at http://h cannot serve: graph 'a' cannot be loaded: SyntaxError\n"
        + broken["traceback"].rstrip()
    )
    other = _unusable("http://h", httpx.Response(404, text="<html>", request=request))
    assert "not as an agent server would: HTTP 404" in other.problem


def test_server_that_does_not_answer_in_time_is_named_with_the_reason(invoke: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]

        def hang_up() -> None:
            silent.accept()[0].close()

        ending = threading.Thread(target=hang_up)
        ending.start()
        done = invoke("runs", "ls", "--url", f"http://127.0.0.1:{port}")
        ending.join(30)
    assert re.search(r"no server answers at http://127.0.0.1:\d+ \(.+\)", done.err), done.err


def test_run_is_found_by_last_and_by_the_beginning_of_its_id(url: str, invoke: Run) -> None:
    run_id = invoke("run", "echo", "hi", "--url", url, "--json").of("created")[0]["run_id"]
    for reference in ("last", run_id[:-1], run_id):
        (shown,) = invoke("runs", "show", reference, "--url", url, "--json").of("run")
        assert shown["run_id"] == run_id
    assert "heard 1: hi" in invoke("runs", "show", "last", "--url", url).out
    assert "heard 1: hi" in invoke("watch", "last", "--url", url).out
    missing = invoke("runs", "show", "ffff", "--url", url)
    assert (missing.exit_code, "no run begins with ffff" in missing.err) == (1, True)
    assert "must be a UUID" in invoke("runs", "show", "zz", "--url", url).err


async def test_ambiguous_beginning_of_an_id_lists_the_candidates() -> None:
    rows = [{"run_id": f"01a-{number}"} for number in range(7)]

    async def page(limit: int, offset: int) -> list[dict[str, str]]:
        return rows[offset : offset + limit]

    with pytest.raises(CommandError, match=r"01a-0, 01a-1, 01a-2, 01a-3, 01a-4, \.\.\."):
        await _find("run", "run_id", "01a", page, "runstead runs ls")
    assert await _find("run", "run_id", "01a-6", page, "runstead runs ls") == rows[6]


def test_thread_is_listed_shown_and_deleted(url: str, invoke: Run) -> None:
    thread = invoke("run", "echo", "first words", "--url", url, "--json").of("created")[0]["thread_id"]
    assert "first words" in invoke("threads", "ls", "--url", url).out
    shown = invoke("threads", "show", thread[:-2], "--url", url)
    assert "heard 1: first words" in shown.out
    assert "success" in shown.out
    unasked = invoke("threads", "rm", thread, "--url", url)
    assert (unasked.exit_code, "--yes" in unasked.err) == (2, True)
    assert "is deleted" in invoke("threads", "rm", thread, "--yes", "--url", url).out
    assert invoke("threads", "show", thread, "--url", url).exit_code == 1


def test_approval_is_listed_and_answered(url: str, invoke: Run) -> None:
    asked = invoke("run", "asker", "hi", "--url", url, "--json")
    thread = asked.of("waiting")[0]["thread_id"]
    listed = invoke("approvals", "ls", "--url", url)
    assert thread in listed.out
    assert '{"question": "really [yes]?"}' in listed.out
    answered = invoke("approvals", "answer", thread[:-1], '"fine"', "--url", url)
    assert "the answer was 'fine'" in answered.out
    again = invoke("approvals", "answer", thread, "true", "--url", url)
    assert (again.exit_code, "waits for no answer" in again.err) == (1, True)
    assert invoke("approvals", "ls", "--url", url).out == "nothing waits for an answer\n"
    invoke("run", "asker", "hi", "--url", url, "--json")
    assert "the answer was True" in invoke("approvals", "answer", "last", "--yes", "--url", url).out


def test_approval_is_shown_delegated_commented_on_and_answered_by_its_id(url: str, invoke: Run) -> None:
    asked = invoke("run", "asker", "hi", "--url", url, "--json")
    thread = asked.of("waiting")[0]["thread_id"]
    listed = invoke("approvals", "ls", "--url", url, "--json").of("approval")
    (approval,) = [one["approval_id"] for one in listed if one["thread_id"] == thread]
    assert "anna can answer it too" in invoke("approvals", "delegate", approval, "anna", "--url", url).out
    assert invoke("approvals", "comment", approval, "looks [fine]", "--url", url).exit_code == 0
    shown = invoke("approvals", "show", approval, "--url", url).out
    assert "delegate: anna" in shown
    assert "looks [fine]" in shown
    (answered,) = invoke("approvals", "answer", approval, '"fine"', "--url", url, "--json").of("answered")
    assert answered["run_id"] in invoke("runs", "show", answered["run_id"], "--url", url).out
    again = invoke("approvals", "answer", thread, "true", "--url", url)
    assert again.exit_code == 1


def test_fork_repeats_a_run_from_the_state_before_it(url: str, invoke: Run) -> None:
    thread = invoke("run", "echo", "one", "--url", url, "--json").of("created")[0]["thread_id"]
    second = invoke("run", "echo", "two", "--thread", thread, "--url", url, "--json").of("created")[0]["run_id"]
    assert "heard 3: two" in invoke("runs", "fork", second, "--url", url).out
    changed = invoke("runs", "fork", second, "three", "--url", url)
    assert "heard 3: three" in changed.out
    update = json.dumps({"messages": [{"role": "user", "content": "between"}]})
    assert "heard 4: two" in invoke("runs", "fork", second, "--state", update, "--url", url).out
    (shown,) = invoke("threads", "show", thread, "--url", url, "--json").of("thread")
    assert [message["content"] for message in shown["values"]["messages"]][-3:-1] == ["between", "two"]


def test_first_run_of_a_thread_is_forked_into_a_new_thread(url: str, invoke: Run) -> None:
    first = invoke("run", "echo", "one", "--url", url, "--json").of("created")[0]
    forked = invoke("runs", "fork", first["run_id"], "--url", url, "--json").of("forked")[0]
    assert forked["thread_id"] != first["thread_id"]
    update = json.dumps({"messages": [{"role": "user", "content": "before"}]})
    assert "heard 2: one" in invoke("runs", "fork", first["run_id"], "--state", update, "--url", url).out


def test_tables_fit_80_columns(url: str, invoke: Run, terminal: Callable[..., Terminal]) -> None:
    invoke("run", "echo", "a long message " * 20, "--url", url)
    invoke("run", "asker", "a long message " * 20, "--url", url)
    for command in (("runs", "ls"), ("threads", "ls"), ("approvals", "ls")):
        shown = terminal(*command, "--url", url)
        assert shown.end() == 0
        lines = shown.shown.replace("\r", "").splitlines()
        assert max(map(len, lines)) <= 80, lines
        assert re.search(r"[0-9a-f]{8}-[0-9a-f]{4}", lines[1]), lines


def test_short_ids_are_unique_beginnings() -> None:
    ids = ["01a2314e-f88c-7709-a8ed-2c8fc6cf4497", "01a2314e-f88c-7709-b8ed-2c8fc6cf4497"]
    assert list(Output(width=80).short_ids(ids).values()) == ["01a2314e-f88c-7709-a", "01a2314e-f88c-7709-b"]


def test_chat_asks_for_the_fields_of_the_input_schema(url: str) -> None:
    schema = httpx.get(f"{url}/assistants/sum/schemas").json()["input_schema"]
    typed, asked = ["[1, 2]", "", "007"], list[str]()

    def ask(question: str) -> str:
        asked.append(question)
        return typed.pop(0)

    assert ask_for_input(schema, ask) == {"numbers": [1, 2], "label": "007"}
    assert asked[0] == "numbers (JSON list, required): "
    assert ask_for_input(schema, lambda question: "") is None
    messages = httpx.get(f"{url}/assistants/echo/schemas").json()["input_schema"]
    assert ask_for_input(messages, lambda question: "hi") == {"messages": [{"role": "user", "content": "hi"}]}
    assert ask_for_input({"type": "integer"}, lambda question: "7") == 7


def test_chat_goes_on_with_one_thread(url: str, terminal: Callable[..., Terminal]) -> None:
    talking = terminal("chat", "echo", "--url", url)
    talking.wait_for("you     ")
    talking.press("hi\n")
    talking.wait_for("heard 1: hi")
    talking.wait_for("you     ")
    talking.press("again\n")
    talking.wait_for("heard 3: again")
    talking.wait_for("you     ")
    talking.press("\n")
    assert talking.end() == 0


def test_questions_are_shown_literally(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("typed\n"))
    assert Output().ask("  to [ada@example.org] [bold]: ") == "typed"
    assert "  to [ada@example.org] [bold]: " in capsys.readouterr().out


def test_usage_is_shown_by_group_with_what_has_no_price(url: str, invoke: Run) -> None:
    assert invoke("run", "speaker", "hi", "--url", url).exit_code == 0
    shown = invoke("usage", "--by", "graph,model", "--url", url).out
    assert re.search(r"graph +model +runs +calls +input +output +usd\n", shown)
    assert re.search(r"speaker +scripted +1 +1 +\d+ +\d+ +unpriced\n", shown)
    assert "1 runs, 1 calls" in shown
    assert "Unpriced, and not in the cost: scripted" in shown
    line = json.loads(invoke("usage", "--days", "1", "--json", "--url", url).out)
    assert (line["event"], line["total"]["calls"], line["data"][0]["day"]) == ("usage", 1, line["to"])
    assert invoke("usage", "--by", "colour", "--url", url).err.startswith("error: group_by: 'colour' is no dimension")


def test_usage_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(width=80)
    names = ["day", "tenant", "user", "graph", "model", "caller"]
    counts = {"runs": 123_456, "calls": 99_999, "input_tokens": 2_345_678_901, "output_tokens": 12_345_678}
    group = {name: f"a long {name} of somewhere" for name in names} | counts | {"usd": 1234.5678, "unpriced": ["m"]}
    page = {"group_by": names, "data": [group], "total": {**counts, "total_tokens": 5}, "has_more": True}
    days = {"from": "2026-01-01", "to": "2026-01-30"}
    show_usage({**page, **days, "cost": {"usd": 1.5, "unpriced": ["m"], "prices": None}}, output)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80, lines
    assert "2.35G" in lines[1]


def test_times_are_relative_and_short() -> None:
    from datetime import UTC, datetime, timedelta

    now = datetime(2030, 1, 1, tzinfo=UTC)
    shown = [ago((now - timedelta(seconds=seconds)).isoformat(), now) for seconds in (0, 5, 90, 7200, 200_000, -3600)]
    assert shown == ["now", "5s ago", "2m ago", "2h ago", "2d ago", "in 1h"]
    assert [duration(seconds) for seconds in (0.42, 12.3, 185, 7810)] == ["0.4s", "12s", "3m05s", "2h10m"]


def test_hints_name_the_server_but_no_credentials() -> None:
    server = ServerClient(Output(), "http://h:1", api_key="secret", headers=(("authorization", "secret"),))
    assert server.url_option == " --url http://h:1"


def test_codes_and_links_of_chat_users(url: str, invoke: Run) -> None:
    made = invoke("channels", "link", "--url", url)
    assert (made.exit_code, "\n  /link " in made.out) == (0, True)
    assert invoke("channels", "ls", "--url", url).out == "no chat user is linked\n"
    missing = invoke("channels", "unlink", "telegram", "7", "--url", url)
    assert (missing.exit_code, "is linked to your account" in missing.err) == (1, True)
