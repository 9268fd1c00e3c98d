"""A worker that is killed right after it has written the end of a run: required observers are still notified."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from .client import Client, eventually
from .conftest import StartServer
from .observers import FOLDER

OBSERVERS = ["tests.processes.observers:Ledger", "tests.processes.observers:Killer"]


@pytest.mark.timeout(300)
async def test_required_observer_is_notified_after_a_kill_right_after_the_end(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(settings={"observers": json.dumps(OBSERVERS)}, environ={FOLDER: str(tmp_path)})
    first = server.pid

    def notified() -> list[dict[str, Any]]:
        return [json.loads(line) for line in (tmp_path / "ledger").read_text().splitlines()]

    async with Client(server.url) as client:
        run = await client.create(None, "noop", {}, on_completion="keep")

        async def is_dead() -> bool:
            return not server.is_alive()

        assert await eventually(is_dead, within=60)
        # Once before the end was written.
        assert {(line["run_id"], line["pid"]) for line in notified()} == {(run["run_id"], first)}
        await asyncio.to_thread(server.restart)

        async def is_notified() -> bool:
            return any(line["pid"] == server.pid for line in notified())

        assert await eventually(is_notified, within=60), server.log
        assert len({line["event_id"] for line in notified()}) == 1
        ended = await client.ended(f"/threads/{run['thread_id']}/runs/{run['run_id']}")
        # The end was not written again by another attempt.
        assert (ended["status"], ended["attempt"]) == ("success", 1)
