"""Invariants after any disturbance: every guarantee holds."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import psycopg

from tests.processes.client import Client
from tests.processes.load import Load, Promise, log_of

from .nodes import Cluster

_PATIENCE: Final = 120.0
"""Seconds for the last run to end, lost workers included."""


async def check_laws(cluster: Cluster, client: Client, load: Load) -> None:
    """Assert that every accepted run has ended well, once, with the result of an undisturbed run, and that no
    reader hangs.
    """
    runs = [await client.ended(promise.location, within=_PATIENCE) for promise in load.promises]
    assert load.faults == [], cluster.logs
    assert {run["status"] for run in runs} == {"success"}, [run for run in runs if run["status"] != "success"][:3]
    by_thread: dict[str, list[Promise]] = defaultdict(list)
    for promise in load.promises:
        if promise.thread_id is not None:
            by_thread[promise.thread_id].append(promise)
    for thread_id, promises in by_thread.items():
        await _check_thread(client, thread_id, promises)
    left = in_database(cluster)
    assert left == {"waiting": 0, "held": 0, "busy threads": 0}, left


async def _check_thread(client: Client, thread_id: str, promises: list[Promise]) -> None:
    """Assert that the state is that of the runs, each undisturbed, in the order of acceptance: a step written by
    two attempts would appear twice.
    """
    runs = await client.runs_of(thread_id)
    names = [run["metadata"]["name"] for run in runs]
    # A run accepted while a server died was not acknowledged, and runs all the same.
    assert set(names) >= {promise.name for promise in promises}
    assert {run["status"] for run in runs} == {"success"}
    assert (await client.get(f"/threads/{thread_id}"))["status"] == "idle"
    values = await client.values(thread_id)
    if promises[0].graph == "steps":
        assert values["log"] == [entry for name in names for entry in log_of(name)]
    else:
        assert promises[0].name in values["messages"][-1]["content"]
        assert len(values["messages"]) == 6


def in_database(cluster: Cluster) -> dict[str, Any]:
    """The work still in progress."""
    with psycopg.connect(cluster.postgres.url) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM runstead.runs WHERE ended_at IS NULL AND lease_until IS NULL),"
            " (SELECT count(*) FROM runstead.runs WHERE lease_until IS NOT NULL),"
            " (SELECT count(*) FROM runstead.threads WHERE status = 'busy')"
        ).fetchone()
    return dict(zip(("waiting", "held", "busy threads"), row or (), strict=True))
