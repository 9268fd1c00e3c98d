"""Crons belong to their creator, their runs act as that user, and auth handlers decide about both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.errors import NotFoundError

from runstead.bootstrap.server import serving
from tests.processes.client import eventually

from .conftest import ClientOf, application_of

EVERY_SECOND = "* * * * * *"
NEVER_SOON = "0 0 29 2 *"


async def test_handlers_stamp_crons_and_their_runs(alice: Any, http: httpx.AsyncClient) -> None:
    cron = await alice.crons.create("teller", schedule=EVERY_SECOND, metadata={"a": 1}, on_run_completed="keep")
    assert cron["metadata"] == {"a": 1, "owner": "alice"}
    assert cron["user_id"] == "alice"

    async def made() -> Any:
        return await alice.threads.search(metadata={"cron_id": cron["cron_id"]})

    thread = (await eventually(made, 30))[0]
    await alice.crons.delete(cron["cron_id"])
    assert thread["metadata"]["owner"] == "alice"
    run = (await alice.runs.list(thread["thread_id"]))[0]
    assert run["kwargs"]["config"]["tags"] == ["stamped"]


async def test_cron_of_another_user_is_not_found(alice: Any, client_of: ClientOf) -> None:
    thread = (await alice.threads.create())["thread_id"]
    cron = await alice.crons.create_for_thread(thread, "teller", schedule=NEVER_SOON)
    for stranger in (client_of("bob-token"), client_of("guest-token")):
        assert await stranger.crons.search() == []
        assert await stranger.crons.count() == 0
        with pytest.raises(NotFoundError):
            await stranger.crons.update(cron["cron_id"], enabled=False)
        with pytest.raises(NotFoundError):
            await stranger.crons.delete(cron["cron_id"])
        with pytest.raises(NotFoundError):
            await stranger.http.get(f"/runs/crons/{cron['cron_id']}")
        with pytest.raises(NotFoundError):
            await stranger.crons.create_for_thread(thread, "teller", schedule=NEVER_SOON)
    assert await alice.crons.search() == [cron]
    changed = await alice.crons.update(cron["cron_id"], enabled=False)
    assert changed["metadata"] == {"owner": "alice"}
    assert changed["payload"]["schedule"] == NEVER_SOON


async def test_webhook_deliveries_belong_to_the_owner_of_the_run(tmp_path: Path) -> None:
    async with serving(application_of(tmp_path / "data", webhook_allow_loopback=True)) as url:
        alice, *strangers = (
            get_client(url=url, api_key=None, headers={"Authorization": f"Bearer {name}-token"})
            for name in ("alice", "bob", "guest")
        )
        thread = (await alice.threads.create())["thread_id"]
        # No server listens there: only the owner of the delivery matters.
        run = await alice.runs.create(thread, "teller", input={}, webhook="http://127.0.0.1:1/x")
        await alice.runs.join(thread, run["run_id"])
        delivery: Any
        (delivery,) = await alice.http.get("/webhooks/deliveries")
        assert delivery["run_id"] == run["run_id"]
        for stranger in strangers:
            assert await stranger.http.get("/webhooks/deliveries") == []
            with pytest.raises(NotFoundError):
                await stranger.http.get(f"/webhooks/deliveries/{delivery['delivery_id']}")
            with pytest.raises(NotFoundError):
                await stranger.http.post(f"/webhooks/deliveries/{delivery['delivery_id']}/redeliver", json=None)
