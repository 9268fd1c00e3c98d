"""Author code that raises: writes are refused with its error text, and all stored states stay readable."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest

WORDS = {
    "attribute": "AttributeError: 'list' object has no attribute 'nothing'",
    "assertion": "AssertionError: picky says no",
    "index": "IndexError: list index out of range",
    "custom": "NotFromHere: An internal error occurred",
    "zero": "ZeroDivisionError: integer division or modulo by zero",
    "exit": "SystemExit",
    "stop": "StopIteration",
    "nameless": "_Speechless: An internal error occurred",
}


@pytest.fixture
def api(server: str) -> httpx.Client:
    return httpx.Client(base_url=server, timeout=60)


def started(client: Any, graph_id: str, values: Any, **options: Any) -> str:
    thread_id: str = client.threads.create()["thread_id"]
    client.runs.wait(thread_id, graph_id, input=values, raise_error=False, **options)
    return thread_id


@pytest.mark.parametrize("item", WORDS)
def test_update_that_breaks_a_reducer_is_refused_with_the_reducer_error(
    client: Any, api: httpx.Client, item: str
) -> None:
    thread_id = started(client, "reducing", {"items": "a"})
    before = client.threads.get_state(thread_id)
    refused = api.post(f"/threads/{thread_id}/state", json={"values": {"items": item}})
    assert refused.status_code == 400, refused.text
    assert WORDS[item] in refused.json()["detail"]
    assert client.threads.get_state(thread_id) == before


@pytest.mark.parametrize("item", WORDS)
def test_thread_is_usable_after_a_run_broke_a_reducer(client: Any, item: str) -> None:
    thread_id = started(client, "reducing", {"items": "a"})
    client.runs.wait(thread_id, "reducing", input={"items": item}, raise_error=False)
    assert client.runs.list(thread_id)[0]["status"] == "error"
    assert client.threads.get_state(thread_id)["values"] == {"items": ["a"], "note": "ran", "log": ["ran"]}
    assert client.threads.get_history(thread_id)[0]["values"]["items"] == ["a"]
    assert client.threads.get(thread_id)["status"] == "error"
    client.runs.wait(thread_id, "reducing", input={"items": "b"})
    assert client.threads.get_state(thread_id)["values"]["items"] == ["a", "b"]
    assert len(client.threads.get_history(thread_id, limit=100)) >= 4


def test_state_shown_without_graph_code_carries_a_remark(client: Any, api: httpx.Client) -> None:
    thread_id = started(client, "reducing", {"items": "a"})
    client.runs.wait(thread_id, "reducing", input={"items": "assertion"}, raise_error=False)
    read = api.get(f"/threads/{thread_id}/state")
    remark = "the state is shown as it is stored, for the graph's own code failed: AssertionError: picky says no"
    assert read.headers["runstead-remark"] == remark
    rude = started(client, "validating", {"said": ["turn rude"]})
    for page in ("state", "history"):
        assert "say it politely" in api.get(f"/threads/{rude}/{page}").headers["runstead-remark"]
    whole = started(client, "reducing", {"items": "a"})
    assert "runstead-remark" not in api.get(f"/threads/{whole}/state").headers


def test_supersteps_that_break_a_reducer_are_refused(api: httpx.Client) -> None:
    steps = [{"updates": [{"values": {"items": "assertion"}, "as_node": "n"}]}]
    refused = api.post("/threads", json={"supersteps": steps, "metadata": {"graph_id": "reducing"}})
    assert refused.status_code == 400
    assert "picky says no" in refused.json()["detail"]


def test_state_the_next_node_rejects_can_be_read_and_repaired(client: Any) -> None:
    thread_id = started(client, "validating", {"said": ["turn rude"]})
    state = client.threads.get_state(thread_id)
    assert state["values"] == {"word": "rude", "said": ["turn rude", "said"]}
    assert state["next"] == ["ask"]
    thread = client.threads.get(thread_id)
    assert (thread["status"], thread["values"]["word"]) == ("error", "rude")
    history = client.threads.get_history(thread_id)
    assert [each["next"] for each in history] == [["ask"], ["say"], ["__start__"]]
    client.threads.update_state(thread_id, {"word": "kind"}, as_node="say")
    client.runs.wait(thread_id, "validating", input=None)
    assert client.threads.get_state(thread_id)["interrupts"][0]["value"] == "kind?"


def test_update_the_next_node_rejects_is_stored_and_readable(client: Any, api: httpx.Client) -> None:
    thread_id = started(client, "validating", {"word": "kind"})
    written = api.post(f"/threads/{thread_id}/state", json={"values": {"word": "rude"}, "as_node": "say"})
    # Only the next node would reject it: for the graph it is a valid state.
    assert written.status_code == 200, written.text
    state = client.threads.get_state(thread_id)
    assert (state["values"]["word"], state["next"]) == ("rude", ["ask"])
    assert state["checkpoint"]["checkpoint_id"] == written.json()["checkpoint_id"]
    thread = client.threads.get(thread_id)
    assert (thread["status"], thread["values"]["word"]) == ("interrupted", "rude")


def test_thread_whose_factory_raises_shows_the_stored_state(client: Any, api: httpx.Client) -> None:
    tenant = f"t-{uuid4()}"
    thread_id = started(client, "tenanted", {}, config={"configurable": {"tenant": tenant}})
    whole = client.threads.get_state(thread_id)
    assert whole["next"] == ["ask"]
    past = client.threads.get_history(thread_id)
    client.runs.wait(None, "leaving", input={"tenant": tenant})

    read = api.get(f"/threads/{thread_id}/state")
    state = read.json()
    assert read.headers["runstead-remark"].endswith(f"failed: RuntimeError: tenant {tenant} has left")
    for field in ("values", "next", "interrupts", "checkpoint", "parent_checkpoint", "created_at", "metadata"):
        assert state[field] == whole[field], field
    (task,) = state["tasks"]
    assert (task["name"], task["interrupts"]) == ("ask", whole["interrupts"])
    shown = client.threads.get_history(thread_id)
    # The initial value of a channel comes from the graph and is not stored.
    assert [each["values"] for each in shown] == [{"items": ["a"], "note": tenant}, {}, {}]
    assert [each["next"] for each in shown] == [each["next"] for each in past]
    assert client.threads.get_history(thread_id, limit=1, before=past[0]["checkpoint"]["checkpoint_id"]) == shown[1:2]
    at = past[1]["checkpoint"]
    assert client.threads.get_state(thread_id, checkpoint_id=at["checkpoint_id"])["values"] == {}
    missing = api.get(f"/threads/{thread_id}/state/{uuid4()}")
    assert missing.status_code == 404

    refused = api.post(f"/threads/{thread_id}/state", json={"values": {"items": "b"}})
    assert refused.status_code == 422
    detail = f"The code of graph 'tenanted' failed: RuntimeError: tenant {tenant} has left"
    assert refused.json()["detail"] == detail


@pytest.mark.parametrize("route", ["schemas", "graph", "subgraphs"])
def test_assistant_whose_factory_raises_reports_the_error(api: httpx.Client, route: str) -> None:
    refused = api.get(f"/assistants/tenanted/{route}")
    assert refused.status_code == 422, refused.text
    assert refused.json()["detail"] == "The code of graph 'tenanted' failed: KeyError: 'tenant'"


def test_thread_whose_factory_raised_in_its_first_run_is_readable(client: Any) -> None:
    thread_id = started(client, "tenanted", {})
    state = client.threads.get_state(thread_id)
    assert (state["values"], state["next"], state["checkpoint"]) == ({}, [], None)
    assert client.threads.get_history(thread_id) == []


NO_GRAPH = (
    "graph 'forgetful': the factory forgetful() returned None; return a compiled graph, a StateGraph or an @entrypoint"
)


def test_run_of_a_factory_that_returns_no_graph_fails_with_what_it_returned(client: Any) -> None:
    answer = client.runs.wait(None, "forgetful", input={"tenant": "t"}, raise_error=False)
    assert answer["__error__"] == {"error": "NoGraphReturned", "message": NO_GRAPH}


def test_state_of_a_factory_that_returns_no_graph_is_shown_as_stored(client: Any, api: httpx.Client) -> None:
    thread_id = started(client, "forgetful", {"tenant": "t"}, config={"configurable": {"remembers": True}})
    client.runs.wait(thread_id, "forgetful", input={"tenant": "u"}, raise_error=False)
    read = api.get(f"/threads/{thread_id}/state")
    assert (read.status_code, read.json()["values"]) == (200, {"tenant": "t"})
    assert read.headers["runstead-remark"].endswith(f"failed: NoGraphReturned: {NO_GRAPH}")
    refused = api.post(f"/threads/{thread_id}/state", json={"values": {"tenant": "v"}})
    assert refused.status_code == 422
    assert refused.json()["detail"] == f"The code of graph 'forgetful' failed: NoGraphReturned: {NO_GRAPH}"
    assert NO_GRAPH in api.get("/assistants/forgetful/schemas").json()["detail"]
