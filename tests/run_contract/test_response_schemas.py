"""An interrupt's ``response_schema`` is shown wherever the interrupt is, and resume values are checked against it."""

from __future__ import annotations

from typing import Any

import pytest

from runstead.cli.approval import approve_all, ask_about
from runstead.cli.transcript import Interrupt
from tests.faults.browser import Browser

from .graphs import Decision

SCHEMA = Decision.model_json_schema() | {"description": "An answer that `interrupt` checks."}


async def asked(browser: Browser, graph: str) -> str:
    """Return the path of an interrupted thread."""
    thread = await browser.new_thread()
    await browser.wait(thread, graph, {})
    return thread


def schemas(interrupts: list[dict[str, Any]]) -> list[Any]:
    return [interrupt.get("response_schema") for interrupt in interrupts]


@pytest.mark.parametrize("graph", ["decide", "decide_below"])
async def test_response_schema_is_kept_on_the_thread(browser: Browser, graph: str) -> None:
    thread = await asked(browser, graph)
    record = await browser.get(thread)
    (found,) = await browser.post("/threads/search", {"ids": [record["thread_id"]]})
    for shown in (record, found):
        assert [schemas(pending) for pending in shown["interrupts"].values()] == [[SCHEMA]]


@pytest.mark.parametrize("graph", ["decide", "decide_below"])
async def test_response_schema_is_kept_in_state_history_and_tasks(browser: Browser, graph: str) -> None:
    thread = await asked(browser, graph)
    state = await browser.get(f"{thread}/state", params={"subgraphs": "true"})
    (latest, *_) = await browser.get(f"{thread}/history")
    for shown in (state, latest):
        assert schemas(shown["interrupts"]) == [SCHEMA]
        assert schemas(shown["tasks"][0]["interrupts"]) == [SCHEMA]
    if graph == "decide_below":
        below = state["tasks"][0]["state"]
        assert schemas(below["interrupts"]) == schemas(below["tasks"][0]["interrupts"]) == [SCHEMA]


@pytest.mark.parametrize("graph", ["decide", "decide_below"])
async def test_response_schema_is_part_of_input_requested(browser: Browser, graph: str) -> None:
    thread = await browser.new_thread()
    started = {"id": 1, "method": "run.start", "params": {"assistant_id": graph, "input": {}}}
    await browser.post(f"{thread}/commands", started)
    async with browser.watching("POST", f"{thread}/stream/events", {"channels": ["input"], "since": 0}) as request:
        (requested,) = await request.saw("input.requested")
    assert requested.json["params"]["data"]["response_schema"] == SCHEMA


async def test_interrupt_without_schema_has_no_such_field(browser: Browser) -> None:
    thread = await asked(browser, "ask")
    (pending,) = (await browser.get(thread))["interrupts"].values()
    assert [set(one) for one in pending] == [{"id", "value"}]


BAD: list[Any] = ["banana", None, {}, {"type": "maybe"}, {"type": "approve", "amount": "many"}]


async def refused(browser: Browser, path: str, body: Any) -> str:
    answer = await browser.http.post(path, json=body)
    assert answer.status_code == 422, answer.text
    return answer.text


@pytest.mark.parametrize("graph", ["decide", "decide_below"])
async def test_answer_that_violates_the_schema_leaves_the_thread_unchanged(browser: Browser, graph: str) -> None:
    thread = await asked(browser, graph)
    before, state = await browser.get(thread), await browser.get(f"{thread}/state")
    (interrupt,) = state["interrupts"]
    for answer in (*BAD, *({interrupt["id"]: bad} for bad in BAD)):
        body = {"assistant_id": graph, "command": {"resume": answer}}
        for route in ("runs", "runs/wait", "runs/stream"):
            assert interrupt["id"] in await refused(browser, f"{thread}/{route}", body)
        batch = [{**body, "thread_id": before["thread_id"]}, {"assistant_id": "ask", "input": {}}]
        await refused(browser, "/runs/batch", batch)
    assert await browser.get(thread) == before
    assert len(await browser.get(f"{thread}/runs")) == 1
    answered = await browser.wait(thread, graph, None, command={"resume": {"type": "approve", "amount": "7"}})
    assert answered["log"] == ["approve 7"]


@pytest.mark.parametrize("graph", ["decide", "decide_below"])
async def test_answer_that_breaks_the_schema_is_refused_by_the_event_protocol(browser: Browser, graph: str) -> None:
    thread = await asked(browser, graph)
    before, state = await browser.get(thread), await browser.get(f"{thread}/state")
    (interrupt,) = state["interrupts"]
    respond = {"interrupt_id": interrupt["id"], "response": "banana"}
    several = {"responses": [respond]}
    start = {"assistant_id": graph, "input": {"type": "maybe"}}
    for method, params in (("input.respond", respond), ("input.respond", several), ("run.start", start)):
        told = await browser.http.post(f"{thread}/commands", json={"id": 1, "method": method, "params": params})
        # The protocol answers failed commands with 200, and a reason.
        assert (told.status_code, told.json()["error"]) == (200, "invalid_argument")
        assert "does not fit its response_schema" in told.json()["message"]
    assert await browser.get(thread) == before
    good = {"interrupt_id": interrupt["id"], "response": {"type": "reject"}}
    command = {"id": 1, "method": "input.respond", "params": good}
    run_id = (await browser.post(f"{thread}/commands", command))["result"]["run_id"]
    assert (await browser.get(f"{thread}/runs/{run_id}/join"))["log"] == ["reject None"]


async def test_answer_that_breaks_a_json_schema_of_the_author_is_refused(browser: Browser) -> None:
    thread = await asked(browser, "form")
    for answer in ("ann", {}, {"name": "a"}):
        await refused(browser, f"{thread}/runs/wait", {"assistant_id": "form", "command": {"resume": answer}})
    assert (await browser.wait(thread, "form", None, command={"resume": {"name": "ann"}}))["log"] == [{"name": "ann"}]


@pytest.mark.parametrize("graph", ["decide", "decide_below"])
async def test_answer_at_a_checkpoint_is_checked_against_its_interrupts(browser: Browser, graph: str) -> None:
    thread = await asked(browser, graph)
    checkpoint = (await browser.get(f"{thread}/state"))["checkpoint"]
    await browser.wait(thread, "ask", {})
    body = {"assistant_id": graph, "checkpoint": checkpoint, "command": {"resume": "banana"}}
    await refused(browser, f"{thread}/runs/wait", body)
    answered = await browser.wait(thread, graph, None, checkpoint=checkpoint, command={"resume": {"type": "reject"}})
    assert answered["log"] == ["reject None"]


async def test_repeated_request_returns_its_run_despite_a_newer_interrupt(browser: Browser) -> None:
    thread = await asked(browser, "decide")
    body = {"assistant_id": "decide", "command": {"resume": {"type": "approve"}}}
    key = {"idempotency-key": "once"}
    first = await browser.http.post(f"{thread}/runs", json=body, headers=key)
    await browser.get(f"{thread}/runs/{first.json()['run_id']}/join")
    await browser.wait(thread, "form", {})
    again = await browser.http.post(f"{thread}/runs", json=body, headers=key)
    assert again.json()["run_id"] == first.json()["run_id"]
    other = await browser.http.post(f"{thread}/runs", json=body, headers={"idempotency-key": "twice"})
    assert other.status_code == 422


async def test_answer_refused_by_the_graph_leaves_the_thread_unchanged(browser: Browser) -> None:
    """The interrupt did not exist when the run was created: the graph itself refuses the resume value."""
    thread = await browser.new_thread()
    first = await browser.create(thread, "decide", {})
    second = await browser.create(thread, "decide", None, command={"resume": "banana"})
    assert (await browser.ended(first))["status"] == "success"
    assert (await browser.ended(second))["status"] == "error"
    left = await browser.get(thread)
    assert (left["status"], left["error"], len(left["interrupts"])) == ("interrupted", None, 1)
    answered = await browser.wait(thread, "decide", None, command={"resume": {"type": "approve"}})
    assert answered["log"] == ["approve None"]


async def test_calls_that_need_approval_are_decided_one_by_one(browser: Browser) -> None:
    question = {"messages": [{"role": "user", "content": "pay all"}]}
    thread = await browser.new_thread()
    asks = (await browser.wait(thread, "payments", question))["__interrupt__"]
    assert len(asks) == 2
    edit = {"type": "edit", "edited_action": {"name": "pay", "args": {"number": "3"}}}
    for answers in ({asks[0]["id"]: edit}, {one["id"]: {"type": "respond", "message": "no"} for one in asks}):
        await refused(browser, f"{thread}/runs", {"assistant_id": "payments", "command": {"resume": answers}})
    pending = [Interrupt(one["id"], one["value"], one["response_schema"]) for one in asks]
    typed = ["y", "n", "too late"]
    decided = ask_about(pending, lambda question: typed.pop(0))
    messages = (await browser.wait(thread, "payments", None, command={"resume": decided}))["messages"]
    assert sorted(message["status"] for message in messages if message["type"] == "tool") == ["error", "success"]
    assert messages[-1]["content"] == "done"
    other = await browser.new_thread()
    asks = (await browser.wait(other, "payments", question))["__interrupt__"]
    pending = [Interrupt(one["id"], one["value"], one["response_schema"]) for one in asks]
    approved = await browser.wait(other, "payments", None, command={"resume": approve_all(pending)})
    paid = [message["content"] for message in approved["messages"] if message["type"] == "tool"]
    assert paid == ["paid 1", "paid 2"]
