"""``python -m benchmarks.nodes``: cost of executing a run in another process than the one that accepts it.

A gateway and a worker, on PostgreSQL and Valkey, compared with a server that does both in one process. All are idle
except for the measured run.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from . import servers
from .client import Connection
from .figures import Measurement, percentile, rows, table
from .scenarios import Figures, Scenario, pickup, run_latency
from .servers import Server

CLUSTER, ALONE = "cluster", "runstead"
_UNDER_WAY: Final = 0.25
"""Seconds after which an idle server has certainly begun a run."""


async def cancel(server: Server, size: float) -> Figures:
    """Measure the time from the request to cancel a run to the response that it has stopped and settled."""
    times = []
    async with Connection(server.port) as connection:
        for _ in range(max(1, round(20 * size))):
            thread_id, run_id = str(uuid.uuid4()), str(uuid.uuid4())
            body = {"assistant_id": "idle", "input": {"n": 1}, "if_not_exists": "create", "run_id": run_id}
            await connection.post(f"/threads/{thread_id}/runs", body)
            await asyncio.sleep(_UNDER_WAY)
            began = time.perf_counter()
            await connection.post(f"/threads/{thread_id}/runs/{run_id}/cancel?wait=true", {})
            times.append(time.perf_counter() - began)
    return {"median_ms": percentile(times, 50) * 1e3, "p95_ms": percentile(times, 95) * 1e3}


_SCENARIOS: Final[Mapping[str, Scenario]] = {
    "run latency": run_latency,
    "pick-up at idle": pickup,
    "cancel at idle": cancel,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nodes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (default: 3)")
    parser.add_argument("--size", type=float, default=1.0, help="a factor on the work of each scenario (default: 1)")
    options = parser.parse_args()
    # Not in a folder that only this user can read: PostgreSQL may have to run as another user.
    with tempfile.TemporaryDirectory(prefix="runstead-bench-") as folder:
        place = Path(folder)
        place.chmod(0o755)
        with servers.cluster(place) as cluster, servers.runstead(place / "data") as alone:
            measured = asyncio.run(_measure(cluster, alone, options.rounds, options.size))
    print(table(rows(measured, CLUSTER, ALONE), CLUSTER, ALONE))


async def _measure(cluster: Server, alone: Server, rounds: int, size: float) -> list[Measurement]:
    measured = []
    for server in (cluster, alone):
        # Warm-up for first imports, caches and pools; not measured.
        await run_latency(server, 0.4)
        await cancel(server, 0.1)
    for round in range(rounds):
        for name, scenario in _SCENARIOS.items():
            for server in (cluster, alone) if round % 2 == 0 else (alone, cluster):
                figures = await scenario(server, size)
                measured += [
                    Measurement(round, server.name, name, figure, value)
                    for figure, value in figures.items()
                    # The cluster has several processes, and only one of them is measured.
                    if not figure.startswith("cpu")
                ]
    return measured


if __name__ == "__main__":
    main()
