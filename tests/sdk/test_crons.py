"""Crons through the Python SDK: every method, and runs started by schedule."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from langgraph_sdk.errors import BadRequestError, NotFoundError, UnprocessableEntityError

from tests.processes.client import eventually

AGENT = "fe096781-5601-53d2-b2f6-0d3403f7e9ca"
INPUT = {"messages": [{"role": "human", "content": "hi there"}]}
EVERY_SECOND = "* * * * * *"
NEVER_SOON = "0 0 29 2 *"


async def test_cron_is_created_found_updated_and_deleted(client: Any) -> None:
    mark = str(uuid.uuid4())
    made = await client.crons.create(
        "agent", schedule="0 9 * * *", input=INPUT, metadata={"mark": mark}, timezone=ZoneInfo("Europe/Paris")
    )
    assert (made["assistant_id"], made["thread_id"], made["on_run_completed"]) == (AGENT, None, "delete")
    assert (made["schedule"], made["timezone"], made["enabled"]) == ("0 9 * * *", "Europe/Paris", True)
    here = datetime.fromisoformat(made["next_run_date"]).astimezone(ZoneInfo("Europe/Paris"))
    assert (here.hour, here.minute) == (9, 0)
    assert made["payload"]["input"] == INPUT
    assert await client.crons.search(metadata={"mark": mark}) == [made]
    assert await client.crons.count(metadata={"mark": mark}) == 1

    end = datetime(2040, 1, 1, tzinfo=UTC)
    changed = await client.crons.update(made["cron_id"], schedule="30 10 * * *", enabled=False, end_time=end)
    assert (changed["schedule"], changed["enabled"]) == ("30 10 * * *", False)
    assert datetime.fromisoformat(changed["end_time"]) == end
    assert changed["payload"]["input"] == INPUT
    assert changed["metadata"] == {"mark": mark}
    cleared = await client.crons.update(made["cron_id"], end_time=None)
    assert (cleared["end_time"], cleared["enabled"]) == (None, False)
    assert await client.crons.search(metadata={"mark": mark}, enabled=True) == []
    assert len(await client.crons.search(metadata={"mark": mark}, enabled=False)) == 1

    await client.crons.delete(made["cron_id"])
    assert await client.crons.count(metadata={"mark": mark}) == 0
    with pytest.raises(NotFoundError, match="not found"):
        await client.crons.delete(made["cron_id"])


async def test_every_field_is_accepted(client: Any) -> None:
    thread = await client.threads.create()
    made = await client.crons.create_for_thread(
        thread["thread_id"],
        "agent",
        schedule=NEVER_SOON,
        input=INPUT,
        metadata={"a": 1},
        config={"tags": ["t"], "recursion_limit": 7},
        context={"who": "me"},
        interrupt_before=["x"],
        interrupt_after="*",
        webhook="http://93.184.216.34/hook",
        multitask_strategy="interrupt",
        end_time=datetime(2040, 1, 1, tzinfo=UTC),
        enabled=False,
        timezone="America/New_York",
        stream_mode=["values", "updates"],
        stream_subgraphs=True,
        stream_resumable=True,
        durability="sync",
    )
    assert (made["thread_id"], made["on_run_completed"], made["enabled"]) == (thread["thread_id"], None, False)
    payload = made["payload"]
    assert payload["config"] == {"tags": ["t"], "recursion_limit": 7, "configurable": {"cron_id": made["cron_id"]}}
    assert payload["stream_mode"] == ["values", "updates"]
    assert (payload["webhook"], payload["multitask_strategy"]) == ("http://93.184.216.34/hook", "interrupt")
    changed = await client.crons.update(
        made["cron_id"],
        input={"messages": []},
        metadata={"b": 2},
        config={"recursion_limit": 9},
        context={"who": "you"},
        webhook="http://93.184.216.34/other",
        interrupt_before="*",
        interrupt_after=["y"],
        timezone="UTC",
        stream_mode="values",
        stream_subgraphs=False,
        stream_resumable=False,
        durability="exit",
    )
    assert changed["metadata"] == {"a": 1, "b": 2}
    assert changed["payload"]["config"] == {"recursion_limit": 9, "configurable": {"cron_id": made["cron_id"]}}
    assert (changed["payload"]["durability"], changed["payload"]["context"]) == ("exit", {"who": "you"})
    await client.threads.delete(thread["thread_id"])
    assert await client.crons.search(thread_id=thread["thread_id"]) == []


async def test_cron_on_a_thread_makes_its_runs_there(client: Any, url: str) -> None:
    thread = await client.threads.create()
    cron = await client.crons.create_for_thread(
        thread["thread_id"], "agent", schedule=EVERY_SECOND, input=INPUT, metadata={"mark": "x"}
    )
    runs = await eventually(lambda: _ended(client, thread["thread_id"], 2), 30)
    await client.crons.delete(cron["cron_id"])
    assert {run["status"] for run in runs} == {"success"}
    assert {run["metadata"]["cron_id"] for run in runs} == {cron["cron_id"]}
    assert {run["metadata"]["mark"] for run in runs} == {"x"}
    assert runs[0]["kwargs"]["config"]["configurable"]["cron_id"] == cron["cron_id"]
    seconds = sorted(datetime.fromisoformat(run["created_at"]).replace(microsecond=0) for run in runs)
    assert len(set(seconds)) == len(seconds), "two runs for one second"


async def _ended(client: Any, thread_id: str, count: int) -> Any:
    runs = await client.runs.list(thread_id, limit=100)
    ended = [run for run in runs if run["status"] == "success"]
    return ended if len(ended) >= count else None


@pytest.mark.parametrize("keep", [True, False])
async def test_cron_without_a_thread_makes_a_new_one_for_each_run(client: Any, url: str, keep: bool) -> None:
    mark = str(uuid.uuid4())
    more = {"on_run_completed": "keep"} if keep else {}
    cron = await client.crons.create("agent", schedule=EVERY_SECOND, input=INPUT, metadata={"mark": mark}, **more)

    async def last() -> Any:
        (one,) = await client.crons.search(metadata={"mark": mark})
        return one["last_run_id"]

    run_id = await eventually(last, 30)
    await client.crons.delete(cron["cron_id"])
    async with httpx.AsyncClient(base_url=url) as http:

        async def run() -> Any:
            found = (await http.get(f"/runs/{run_id}")).json()
            return found if found["status"] == "success" else None

        made = await eventually(run, 30)
    threads = await client.threads.search(metadata={"mark": mark}, limit=100)
    assert (made["thread_id"] in {thread["thread_id"] for thread in threads}) is keep
    if keep:
        assert len({thread["thread_id"] for thread in threads}) == len(threads) >= 1


async def test_pages_order_and_selection(client: Any, url: str) -> None:
    mark = str(uuid.uuid4())
    ids = []
    for minute in (3, 1, 2):
        cron = await client.crons.create("agent", schedule=f"{minute} 0 29 2 *", metadata={"mark": mark})
        ids.append(cron["cron_id"])
    by_date = await client.crons.search(metadata={"mark": mark}, sort_by="next_run_date", sort_order="asc")
    assert [one["cron_id"] for one in by_date] == [ids[1], ids[2], ids[0]]
    newest = await client.crons.search(metadata={"mark": mark}, limit=1, offset=1, select=["cron_id", "schedule"])
    assert newest == [{"cron_id": ids[1], "schedule": "1 0 29 2 *"}]
    assert len(await client.crons.search(assistant_id="agent", metadata={"mark": mark})) == 3
    assert len(await client.crons.search(assistant_id=AGENT, metadata={"mark": mark})) == 3
    assert await client.crons.count(assistant_id=AGENT, metadata={"mark": mark}) == 3
    assert await client.crons.count(thread_id=str(uuid.uuid4())) == 0
    async with httpx.AsyncClient(base_url=url) as http:
        page = await http.post("/runs/crons/search", json={"metadata": {"mark": mark}, "limit": 2})
        assert (page.headers["x-pagination-total"], page.headers["x-pagination-next"]) == ("3", "2")
        one = await http.get(f"/runs/crons/{ids[0]}")
        assert one.json()["cron_id"] == ids[0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schedule": "bogus"}, "Invalid cron schedule: 'bogus'"),
        ({"schedule": "0 0 30 2 *"}, "Invalid cron schedule"),
        ({"schedule": "* * * * *", "timezone": "Mars/Base"}, "timezone: 'Mars/Base'"),
        ({"schedule": "* * * * *", "webhook": "http://127.0.0.1/x"}, "Webhook host blocked: loopback IP range"),
        ({"schedule": "* * * * *", "stream_mode": "odd"}, "stream_mode"),
        ({"schedule": "* * * * *", "on_run_completed": "odd"}, "on_run_completed"),
    ],
)
async def test_invalid_cron_is_refused_on_create_and_update(client: Any, fields: Any, message: str) -> None:
    with pytest.raises(UnprocessableEntityError, match=message):
        await client.crons.create("agent", **fields)
    made = await client.crons.create("agent", schedule=NEVER_SOON)
    with pytest.raises(UnprocessableEntityError, match=message):
        await client.crons.update(made["cron_id"], **fields)
    (same,) = [one for one in await client.crons.search(limit=100) if one["cron_id"] == made["cron_id"]]
    assert same == made
    await client.crons.delete(made["cron_id"])


async def test_invalid_references_are_refused(client: Any, url: str) -> None:
    unknown = str(uuid.uuid4())
    with pytest.raises(NotFoundError):
        await client.crons.create(unknown, schedule=NEVER_SOON)
    with pytest.raises(NotFoundError):
        await client.crons.create_for_thread(unknown, "agent", schedule=NEVER_SOON)
    with pytest.raises(UnprocessableEntityError, match="Invalid assistant"):
        await client.crons.create("unknown", schedule=NEVER_SOON)
    with pytest.raises(BadRequestError, match="both configurable and context"):
        await client.crons.create("agent", schedule=NEVER_SOON, config={"configurable": {"a": 1}}, context={"b": 1})
    with pytest.raises(NotFoundError, match="not found"):
        await client.crons.update(unknown, enabled=False)
    with pytest.raises(UnprocessableEntityError, match="select"):
        await client.crons.search(select=["odd"])
    made = await client.crons.create("agent", schedule=NEVER_SOON)
    thread = (await client.threads.create())["thread_id"]
    async with httpx.AsyncClient(base_url=url) as http:
        assert (await http.get(f"/runs/crons/{unknown}")).status_code == 404
        assert (await http.get("/runs/crons/nonsense")).status_code == 422
        empty = await http.patch(f"/runs/crons/{made['cron_id']}", json={})
        assert (empty.status_code, empty.json()) == (400, {"detail": "No fields to update"})
        body = {"assistant_id": "agent", "schedule": NEVER_SOON, "on_run_completed": "delete"}
        assert (await http.post(f"/threads/{thread}/runs/crons", json=body)).status_code == 422
        for end_time in (5, "soon", "9999-12-31T23:59:59-23:00"):
            wrong = await http.post("/runs/crons", json={**body, "end_time": end_time})
            assert (wrong.status_code, "ISO 8601" in wrong.json()["detail"]) == (422, True)
    await client.crons.delete(made["cron_id"])


async def test_cron_stops_at_its_end_time(client: Any) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    made = await client.crons.create("agent", schedule=EVERY_SECOND, end_time=past)
    assert made["next_run_date"] is None
    await client.crons.delete(made["cron_id"])
