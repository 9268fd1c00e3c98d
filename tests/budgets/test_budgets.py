"""Budgets as clients see them: warnings, errors, 429, and questions to raise them; overshoot is one call at most."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.author.outside_adapters import HEARD
from tests.webhooks.receiver import receiving

from .conftest import SAID, Serve, calls_of, check_overshoot

PER_RUN = {"per": ["run"], "tokens": 60}


async def ended(http: httpx.AsyncClient, graph: str, **fields: Any) -> tuple[Any, Any]:
    """Return a run that was waited for, and its result."""
    path = f"/threads/{fields.pop('thread_id')}/runs/wait" if "thread_id" in fields else "/runs/wait"
    body = {"assistant_id": graph, **({"input": SAID} if "command" not in fields else {}), **fields}
    kept = {} if path.startswith("/threads") else {"on_completion": "keep"}
    response = await http.post(path, json={**body, **kept})
    assert response.status_code == 200, response.text
    return (await http.get(response.headers["content-location"].removesuffix("/join"))).json(), response.json()


async def test_run_beyond_its_budget_ends_with_an_error_after_one_call_more(serve: Serve) -> None:
    async with serve(PER_RUN) as http:
        run, result = await ended(http, "worker")
        assert (run["status"], result["__error__"]["error"]) == ("error", "BudgetExceeded")
        assert result["__error__"]["message"].startswith("The budget of 60 tokens per run is used up (")
        calls = await calls_of(http, run)
        check_overshoot(calls, 60)
        assert result["__error__"]["budget"] == {
            "per": ["run"], "unit": "tokens", "limit": 60, "used": sum(calls), "resets_at": None,
        }  # fmt: skip
        path = f"/threads/{run['thread_id']}/runs/{run['run_id']}/events"
        told = (await http.get(path, params={"types": "budget_warning,budget_exceeded"})).json()["data"]
        assert [event["event_type"] for event in told][-1] == "budget_exceeded"
        # Another run has a budget of its own.
        assert (await ended(http, "blocking"))[0]["status"] == "success"


async def test_run_warns_on_its_stream_when_most_of_a_budget_is_used(serve: Serve) -> None:
    async with serve({**PER_RUN, "warn_at": 0.5}) as http:
        stream = {"assistant_id": "worker", "input": SAID, "stream_mode": ["updates"]}
        text = (await http.post("/runs/stream", json=stream)).text.replace("\r", "")
    told = [block for block in text.split("\n\n") if "event: budget_warning" in block]
    assert len(told) == 1
    data = next(line for line in told[0].splitlines() if line.startswith("data: "))
    warning = json.loads(data.removeprefix("data: "))
    assert warning["part"] >= 0.5
    assert (warning["budget"]["per"], warning["budget"]["limit"]) == (["run"], 60)


async def test_model_in_a_thread_is_stopped_too(serve: Serve) -> None:
    async with serve({"per": ["run"], "tokens": 1}) as http:
        run, result = await ended(http, "blocking")
        assert (run["status"], result["__error__"]["error"]) == ("error", "BudgetExceeded")
        assert len(await calls_of(http, run)) == 1


async def test_runs_beyond_the_tokens_of_a_day_are_refused_with_the_time_of_the_reset(serve: Serve) -> None:
    async with serve(limit_user_tokens_per_day=50) as http:
        before = datetime.now(UTC)
        run, _ = await ended(http, "worker")
        assert run["failure"]["error"] == "BudgetExceeded"
        check_overshoot(await calls_of(http, run), 50)
        response = await http.post("/runs", json={"assistant_id": "worker", "input": SAID})
        assert response.status_code == 429
        midnight = (before + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        assert f"it is reset at {midnight:%Y-%m-%dT%H:%M:%SZ}" in response.json()["detail"]
        assert 1 <= int(response.headers["retry-after"]) <= 86_400
        assert f"{midnight:%Y-%m-%dT%H:%M:%SZ}" in run["failure"]["message"]


async def test_runs_at_once_exceed_a_budget_by_one_call_together(serve: Serve) -> None:
    async with serve({"per": ["graph", "day"], "tokens": 300}) as http:
        runs = await asyncio.gather(*(ended(http, "worker") for _ in range(8)))
        assert {run["failure"]["error"] for run, _ in runs if run["failure"]} == {"BudgetExceeded"}
        calls = [call for run, _ in runs for call in await calls_of(http, run)]
        check_overshoot(calls, 300)
        whole = (await http.get("/usage", params={"group_by": "graph"})).json()
        assert whole["total"]["total_tokens"] == sum(calls)


async def test_used_up_budget_that_pauses_asks_and_continues_when_it_is_raised(serve: Serve) -> None:
    async with serve({"per": ["thread"], "tokens": 60, "on_exceeded": "pause"}) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        run, result = await ended(http, "worker", thread_id=thread)
        assert run["status"] == "success"
        (asked,) = result["__interrupt__"]
        assert (asked["value"]["type"], asked["value"]["budget"]["limit"]) == ("budget_exceeded", 60)
        assert (await http.get(f"/threads/{thread}")).json()["status"] == "interrupted"
        check_overshoot(await calls_of(http, run), 60)
        wrong = {"assistant_id": "worker", "command": {"resume": "yes"}}
        assert (await http.post(f"/threads/{thread}/runs/wait", json=wrong)).status_code == 422
        more = {"action": "raise", "amount": 40}
        _, result = await ended(http, "worker", thread_id=thread, command={"resume": more})
        assert result["__interrupt__"][0]["value"]["budget"]["limit"] == 100
        answer = {result["__interrupt__"][0]["id"]: {"action": "raise", "amount": 100_000}}
        run, result = await ended(http, "worker", thread_id=thread, command={"resume": answer})
        assert (run["status"], result["messages"][-1]["content"]) == ("success", "It is done.")
        assert (await http.get(f"/threads/{thread}")).json()["status"] == "idle"


async def test_answer_to_stop_ends_the_run_with_the_error(serve: Serve) -> None:
    async with serve({"per": ["run"], "tokens": 1, "on_exceeded": "pause"}) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        await ended(http, "worker", thread_id=thread)
        run, _ = await ended(http, "worker", thread_id=thread, command={"resume": {"action": "stop"}})
        assert (run["status"], run["failure"]["error"]) == ("error", "BudgetExceeded")


async def test_answers_to_the_graph_and_to_a_budget_are_kept_apart(serve: Serve) -> None:
    async with serve({"per": ["thread"], "tokens": 1, "on_exceeded": "pause"}) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        _, result = await ended(http, "asking", thread_id=thread)
        assert result["__interrupt__"][0]["value"] == "first?"
        _, result = await ended(http, "asking", thread_id=thread, command={"resume": "one"})
        assert result["__interrupt__"][0]["value"]["type"] == "budget_exceeded"
        more = {"action": "raise", "amount": 1000}
        _, result = await ended(http, "asking", thread_id=thread, command={"resume": more})
        assert result["__interrupt__"][0]["value"] == "second?"
        _, result = await ended(http, "asking", thread_id=thread, command={"resume": "two"})
        assert result["messages"][-1]["content"] == "one, two"


async def test_budget_calls_its_webhook_once_for_the_warning_and_once_for_the_end(serve: Serve) -> None:
    async with receiving() as receiver:
        daily = {"per": ["user", "day"], "tokens": 60}
        async with serve(daily, budget_webhook=receiver.url, webhook_allow_loopback=True) as http:
            run, _ = await ended(http, "worker")
            assert (await http.post("/runs", json={"assistant_id": "worker", "input": SAID})).status_code == 429
            bodies = [json.loads(one.body) for one in await receiver.count(2)]
            shown = (await http.get("/webhooks/deliveries")).json()
        assert len(receiver.received) == 2
    assert sorted(body["event"] for body in bodies) == ["budget_exceeded", "budget_warning"]
    for body in bodies:
        assert (body["run_id"], body["thread_id"]) == (run["run_id"], run["thread_id"])
        assert (body["user_id"], body["tenant_id"], body["graph_id"]) == ("default", "default", "worker")
        assert (body["budget"]["per"], body["budget"]["limit"]) == (["user", "day"], 60)
    # The address belongs to the operator, and users do not see it.
    assert shown == []


async def test_observers_are_notified_of_a_budget_once(serve: Serve) -> None:
    HEARD.clear()
    recorder = "tests.author.outside_adapters:Recorder"
    async with serve({"per": ["thread"], "tokens": 60, "on_exceeded": "pause"}, observers=(recorder,)) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        await ended(http, "worker", thread_id=thread)
        await ended(http, "worker", thread_id=thread)
        told = [event for _, event, _ in HEARD if event.startswith("budget_")]
        assert told == ["budget_warning", "budget_exceeded"]
        more = {"action": "raise", "amount": 40}
        await ended(http, "worker", thread_id=thread, command={"resume": more})
        # The raised limit is another one.
        assert [event for _, event, _ in HEARD if event.startswith("budget_")] == [*told, *told]


async def test_strict_budget_refuses_the_call_that_may_exceed_it(serve: Serve) -> None:
    async with serve({"per": ["run"], "tokens": 5000, "strict": True}) as http:
        run, result = await ended(http, "limited")
        assert (run["status"], result["__error__"]["error"]) == ("error", "BudgetExceeded")
        assert "too small for the next model call" in result["__error__"]["message"]
        # The first call asks for up to 300 tokens, and the second for up to 6,000.
        assert len(await calls_of(http, run)) == 1


@pytest.mark.parametrize("setting", [{"per": ["planet"], "tokens": 1}, {"per": ["run"]}, {"per": [], "tokens": 1}])
def test_invalid_budget_is_refused_by_the_settings(setting: dict[str, Any]) -> None:
    from runstead.settings import SettingsError, load_settings

    with pytest.raises(SettingsError, match="budgets"):
        load_settings({"budgets": [setting]})
