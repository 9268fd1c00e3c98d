"""A worker whose user code blocks its event loop forever: it releases its runs and replaces itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.processes.client import Client, new_id

from .nodes import Cluster

LIMIT = 2.0


async def test_worker_replaces_itself_without_losing_other_runs(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"blocked_loop_limit_seconds": LIMIT, "max_attempts": 1, "shutdown_grace_seconds": 1}
    with Cluster.running(tmp_path, gateways=1, workers=1, **settings) as cluster:
        (worker,) = cluster.workers
        pid = worker.pid
        async with Client(cluster.urls[0]) as client:
            steps = {"name": "it", "steps": 12, "pause": 0.25}
            beside = await client.create(new_id(), "steps", steps, stream_resumable=True, stream_mode="values")
            location = f"/threads/{beside['thread_id']}/runs/{beside['run_id']}"
            stuck = await client.create(new_id(), "burns", {"seconds": 10_000.0})
            # Neither the loop of its own worker nor of a gateway: a reader is connected all the time.
            frames = await client.replay(location)
            ended = await client.ended(location)
            dead = await client.ended(f"/threads/{stuck['thread_id']}/runs/{stuck['run_id']}")
        # One attempt is allowed: an attempt lost by a neighbour's block does not count, the blocking run's own does.
        assert (ended["status"], ended["attempt"]) == ("success", 2), cluster.logs
        assert (dead["status"], dead["attempt"]) == ("error", 1), cluster.logs
        values = [frame.json for frame in frames if frame.event == "values"]
        assert values[-1]["log"] == [f"it:{number}" for number in range(12)]
        ids = [frame.id for frame in frames]
        assert len(ids) == len(set(ids))
        assert worker.pid == pid
        assert worker.log.count('"event": "started"') + worker.log.count('"event":"started"') == 2
        assert worker.log.count("handing its runs back and restarting the process") == 1
