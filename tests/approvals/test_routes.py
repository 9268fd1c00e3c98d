"""Approvals over HTTP: listed, answered once, delegated and commented on, whichever way the answer comes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from .conftest import ALICE, BOB, CAROL, Client


async def test_question_is_listed_and_answered(client: Client) -> None:
    approval = await client.ask()
    assert approval["question"] == {"question": "may I?"}
    assert approval["response_schema"]["type"] == "boolean"
    assert (approval["state"], approval["graph_id"], approval["user_id"]) == ("open", "asker", "alice")
    told = await client.answer(approval, True, comment="fine with me")
    assert told.status_code == 200, told.text
    answered = told.json()
    assert (answered["state"], answered["decider"], answered["answered_by"]) == ("answered", "alice", "user")
    assert (await client.joined(answered["answer_run_id"]))["answers"] == [True]
    assert await client.list() == []
    (closed,) = await client.list(state="answered")
    assert closed["decision"] is True
    events = (await client.get(closed))["events"]
    assert [(one["kind"], one["user_id"], one["details"]) for one in events] == [
        ("requested", None, {}),
        ("answered", "alice", {"comment": "fine with me", "by": "user"}),
    ]


async def test_answer_that_breaks_the_schema_leaves_the_approval_open(client: Client) -> None:
    approval = await client.ask()
    refused = await client.answer(approval, "banana")
    assert (refused.status_code, "answer must be a boolean" in refused.json()["detail"]) == (422, True)
    assert (await client.get(approval))["state"] == "open"


async def test_second_decider_gets_409(client: Client) -> None:
    approval = await client.ask()
    await client.post(approval, "delegate", {"user_id": "bob"})
    told = await asyncio.gather(client.answer(approval, True), client.answer(approval, False, BOB))
    assert sorted(one.status_code for one in told) == [200, 409]
    refused = next(one for one in told if one.status_code == 409)
    assert "was answered by" in refused.json()["detail"]
    again = await client.answer(approval, True)
    assert again.status_code == 409
    runs = (await client.http.get(f"/threads/{approval['thread_id']}/runs", headers=ALICE)).json()
    assert len(runs) == 2


async def test_repeated_answer_with_an_idempotency_key_returns_the_approval(client: Client) -> None:
    approval = await client.ask()
    path = f"/approvals/{approval['approval_id']}/answer"
    headers = {**ALICE, "idempotency-key": "once"}
    first = await client.http.post(path, json={"answer": True}, headers=headers)
    await client.joined(first.json()["answer_run_id"])
    again = await client.http.post(path, json={"answer": True}, headers=headers)
    assert (again.status_code, again.json()["answer_run_id"]) == (200, first.json()["answer_run_id"])


async def test_delegate_answers_for_the_owner(client: Client) -> None:
    approval = await client.ask()
    assert (await client.answer(approval, True, BOB)).status_code == 404
    assert await client.list(BOB) == []
    delegated = await client.post(approval, "delegate", {"user_id": "bob"})
    assert delegated.json()["delegate"] == "bob"
    assert [one["approval_id"] for one in await client.list(BOB)] == [approval["approval_id"]]
    assert (await client.post(approval, "comments", {"text": "I take this one"}, BOB)).status_code == 201
    told = await client.answer(approval, True, BOB)
    assert told.status_code == 200, told.text
    assert (told.json()["decider"], told.json()["user_id"]) == ("bob", "alice")
    assert (await client.joined(told.json()["answer_run_id"]))["answers"] == [True]
    # The thread itself stays the owner's.
    assert (await client.http.get(f"/threads/{approval['thread_id']}", headers=BOB)).status_code == 404
    assert (await client.get(approval, CAROL))["detail"].endswith("not found")


async def test_answer_by_a_run_closes_the_approval(client: Client) -> None:
    approval = await client.ask("twice")
    thread = f"/threads/{approval['thread_id']}"
    body = {"assistant_id": "twice", "command": {"resume": "one"}}
    await client.http.post(f"{thread}/runs/wait", json=body, headers=ALICE)
    first = await client.get(approval)
    assert (first["state"], first["decision"], first["decider"]) == ("answered", "one", "alice")
    # The same node asks the next question.
    (second,) = await client.list(thread_id=approval["thread_id"])
    assert second["question"] == "second?"
    told = await client.answer(second, "two")
    assert (await client.joined(told.json()["answer_run_id"]))["answers"] == ["one", "two"]


async def test_approval_of_langchains_middleware_is_answered_unmodified(client: Client) -> None:
    approval = await client.ask("hitl", input={"messages": [{"role": "user", "content": "pay"}]})
    assert approval["question"]["action_requests"][0]["name"] == "pay"
    told = await client.answer(approval, {"decisions": [{"type": "approve"}]})
    messages = (await client.joined(told.json()["answer_run_id"]))["messages"]
    assert [one["content"] for one in messages[-2:]] == ["paid 7", "done"]


async def test_approval_is_withdrawn_when_its_thread_is_used_otherwise(client: Client) -> None:
    approval = await client.ask()
    body = {"assistant_id": "twice", "input": {}}
    await client.http.post(f"/threads/{approval['thread_id']}/runs/wait", json=body, headers=ALICE)
    assert (await client.get(approval))["state"] == "withdrawn"
    refused = await client.answer(approval, True)
    assert (refused.status_code, "moved on" in refused.json()["detail"]) == (409, True)


async def test_copy_of_a_thread_asks_too(client: Client) -> None:
    approval = await client.ask("timed", {"deadline": 3600, "default": "no"})
    copied = await client.http.post(f"/threads/{approval['thread_id']}/copy", headers=ALICE)
    (copy,) = await client.list(thread_id=copied.json()["thread_id"])
    assert (copy["question"]["question"], copy["run_id"], copy["deadline_at"]) == ("may I?", None, None)
    told = await client.answer(copy, "yes")
    assert (await client.joined(told.json()["answer_run_id"]))["answers"] == ["yes"]
    assert (await client.get(approval))["state"] == "open"


async def test_rules_of_a_question_become_times(client: Client) -> None:
    rules = {"deadline": 100, "remind_after": 10, "escalate_after": 50, "escalate_to": "bob", "default": None}
    approval = await client.ask("timed", rules)
    assert approval["question"] == {"question": "may I?", "$approval": rules}
    assert all(approval[f"{name}_at"] for name in ("deadline", "remind", "escalate"))
    assert (approval["escalate_to"], approval["default"]) == ("bob", None)


@pytest.mark.parametrize(
    ("what", "body", "reason"),
    [
        ("answer", {}, "answer: "),
        ("answer", {"answer": True, "comment": ""}, "comment: "),
        ("delegate", {}, "user_id: "),
        ("delegate", {"user_id": ""}, "user_id: "),
        ("comments", {"text": ""}, "text: "),
    ],
)
async def test_body_that_makes_no_sense_is_refused(
    client: Client, what: str, body: dict[str, Any], reason: str
) -> None:
    approval = await client.ask()
    refused = await client.post(approval, what, body)
    assert (refused.status_code, refused.json()["detail"][: len(reason)]) == (422, reason)
    assert (await client.http.get("/approvals", params={"state": "odd"}, headers=ALICE)).status_code == 422
