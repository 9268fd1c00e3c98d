"""A request repeated with the same Idempotency-Key returns the run that the first one created."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from runstead.bootstrap.server import serving

from .conftest import application_of

ALICE, BOB = {"x-api-key": "alice-token"}, {"x-api-key": "bob-token"}
RUN = {"assistant_id": "teller", "input": {}}
KEY = {"idempotency-key": "order-7"}


async def thread_of(http: httpx.AsyncClient, who: dict[str, str] = ALICE) -> str:
    thread_id: str = (await http.post("/threads", json={}, headers=who)).json()["thread_id"]
    return thread_id


def run_of(answer: httpx.Response) -> str:
    """Return the run id in the response of any creation route."""
    assert answer.status_code == 200, answer.text
    return answer.headers["content-location"].rpartition("/")[2]


@pytest.mark.parametrize("verb", ["", "/stream", "/wait"])
@pytest.mark.parametrize("stateless", [False, True])
async def test_twenty_concurrent_requests_create_one_run(http: httpx.AsyncClient, verb: str, stateless: bool) -> None:
    place = "/runs" if stateless else f"/threads/{await thread_of(http)}/runs"
    # A strategy that would refuse a second run: the repeated request is none.
    body = {**RUN, "input": {"wait": 0.2}, "multitask_strategy": "reject"}
    asks = [http.post(f"{place}{verb}", json=body, headers={**ALICE, **KEY}) for _ in range(20)]
    assert len({run_of(answer) for answer in await asyncio.gather(*asks)}) == 1
    assert len((await http.get("/runs", headers=ALICE)).json()) == 1


async def test_repeated_request_returns_the_same_run_after_restart_and_end(tmp_path: Path) -> None:
    runs: list[Any] = []
    for _ in range(2):
        async with (
            serving(application_of(tmp_path / "data")) as url,
            httpx.AsyncClient(base_url=url, timeout=30) as http,
        ):
            answer = await http.post("/runs", json={**RUN, "on_completion": "keep"}, headers={**ALICE, **KEY})
            runs.append(run_of(answer))
            joined = await http.get(f"/runs/{runs[-1]}/join", headers=ALICE)
            assert joined.json()["observed"]["user_id"] == "alice"
    assert runs[0] == runs[1]


async def test_repeated_stream_request_replays_the_run_from_its_start(http: httpx.AsyncClient) -> None:
    place = f"/threads/{await thread_of(http)}/runs/stream"
    first, again = [await http.post(place, json=RUN, headers={**ALICE, **KEY}) for _ in range(2)]
    assert "event: metadata" in first.text
    assert [line for line in first.text.splitlines() if not line.startswith(":")] == [
        line for line in again.text.splitlines() if not line.startswith(":")
    ]


async def test_same_key_with_another_body_is_refused(http: httpx.AsyncClient) -> None:
    place = f"/threads/{await thread_of(http)}/runs"
    run_id = run_of(await http.post(place, json=RUN, headers={**ALICE, **KEY}))
    refused = await http.post(place, json={**RUN, "input": {"wait": 0.1}}, headers={**ALICE, **KEY})
    assert refused.status_code == 422
    assert refused.json()["detail"] == (
        f"Idempotency-Key: this idempotency key has created run {run_id} from a different request; use a new key"
    )
    # The same request, written differently.
    spaced = b'{ "input" : {}, "assistant_id": "teller" }'
    again = await http.post(place, content=spaced, headers={**ALICE, **KEY, "content-type": "application/json"})
    assert run_of(again) == run_id


async def test_key_is_scoped_to_user_and_route(http: httpx.AsyncClient) -> None:
    mine, other, theirs = await thread_of(http), await thread_of(http), await thread_of(http, BOB)
    runs = {
        run_of(await http.post(place, json=RUN, headers={**who, **KEY}))
        for who, place in (
            (ALICE, f"/threads/{mine}/runs"),
            (ALICE, f"/threads/{mine}/runs/wait"),
            (ALICE, f"/threads/{other}/runs"),
            (ALICE, "/runs"),
            (BOB, f"/threads/{theirs}/runs"),
            (BOB, "/runs"),
        )
    }
    assert len(runs) == 6


async def test_repeated_batch_returns_all_its_runs(http: httpx.AsyncClient) -> None:
    batch = [RUN, {**RUN, "thread_id": await thread_of(http)}]
    first, again = [
        [run["run_id"] for run in (await http.post("/runs/batch", json=batch, headers={**ALICE, **KEY})).json()]
        for _ in range(2)
    ]
    assert first == again
    assert len(set(first)) == 2


async def test_failed_request_can_be_repeated(http: httpx.AsyncClient) -> None:
    thread = await thread_of(http)
    busy = run_of(await http.post(f"/threads/{thread}/runs", json={**RUN, "input": {"wait": 1.0}}, headers=ALICE))
    body = {**RUN, "multitask_strategy": "reject"}
    refused = await http.post(f"/threads/{thread}/runs", json=body, headers={**ALICE, **KEY})
    assert refused.status_code == 409
    await http.get(f"/threads/{thread}/runs/{busy}/join", headers=ALICE)
    assert run_of(await http.post(f"/threads/{thread}/runs", json=body, headers={**ALICE, **KEY})) != busy


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there"])
async def test_invalid_idempotency_key_is_refused(http: httpx.AsyncClient, key: str) -> None:
    refused = await http.post("/runs", json=RUN, headers={**ALICE, "idempotency-key": key})
    assert refused.status_code == 422
    assert "Idempotency-Key" in refused.json()["detail"]
