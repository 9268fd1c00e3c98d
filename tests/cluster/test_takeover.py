"""State of a run whose worker is killed, frozen or terminated, as stored and as seen by its readers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
import pytest
import redis

from tests.processes.client import Client, eventually, new_id
from tests.processes.frames import FrameReader, place_of
from tests.processes.load import log_of

from .conftest import balanced
from .nodes import SETTINGS, Cluster, WorkerProcess, freeze, thaw
from .storm.storm import GRAPHS

TERM: Final = float(str(SETTINGS["lease_term_seconds"]))
GRACE: Final = float(str(SETTINGS["shutdown_grace_seconds"]))


@pytest.fixture(scope="module")
def witness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("witness") / "steps"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, witness: Path) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("handing-over")
    with Cluster.running(folder, workers=2, config=GRAPHS, environ={"STORM_WITNESS": str(witness)}) as cluster:
        yield cluster


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    async with balanced(cluster) as client:
        yield client


class Held:
    """A run of many steps, in progress on some worker."""

    def __init__(self, cluster: Cluster, client: Client, run: Any) -> None:
        self.cluster, self.client = cluster, client
        self.run_id, self.thread_id = str(run["run_id"]), str(run["thread_id"])
        self.location = f"/threads/{self.thread_id}/runs/{self.run_id}"

    @classmethod
    async def begun(
        cls,
        cluster: Cluster,
        client: Client,
        graph: str,
        steps: int,
        pause: float,
        gate: Path | None = None,
        **fields: Any,
    ) -> Held:
        """With a ``gate``, the run takes steps until that file exists."""
        said = {"name": "it", "steps": steps, "pause": pause, **({"gate": str(gate)} if gate else {})}
        held = cls(cluster, client, await client.create(new_id(), graph, said, stream_resumable=True, **fields))

        async def is_under_way() -> bool:
            state = await client.get(f"/threads/{held.thread_id}/state")
            return len((state["values"] or {}).get("log", ())) >= 3

        await eventually(is_under_way)
        return held

    async def holder(self) -> WorkerProcess:
        row = self._row("SELECT worker FROM runstead.runs WHERE run_id = %s")
        pid = int(str(row[0]).split("-")[-2])
        return next(worker for worker in self.cluster.workers if worker.pid == pid)

    async def in_attempt(self, attempt: int) -> None:
        async def look() -> bool:
            record = await self.client.get(self.location)
            return bool(record["attempt"] >= attempt and record["status"] in ("running", "success"))

        await eventually(look)

    def everything(self) -> dict[str, Any]:
        """All stored data of the run."""
        kept = {
            "row": self._row("SELECT to_jsonb(r)::text FROM runstead.runs r WHERE run_id = %s"),
            "events": self._row("SELECT count(*), max(seq) FROM runstead.run_events WHERE run_id = %s"),
        }
        with psycopg.connect(self.cluster.postgres.url) as connection:
            for table in ("checkpoints", "writes", "items", "threads"):
                rows = connection.execute(
                    f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM runstead.{table} t".encode()
                )
                kept[table] = rows.fetchone()
        with redis.Redis.from_url(self.cluster.valkey.url) as server:
            (log,) = server.scan_iter(match=f"*:log:{self.run_id}", count=10_000)
            kept["stream"] = server.xrange(log)
        return kept

    def _row(self, query: str) -> Any:
        with psycopg.connect(self.cluster.postgres.url) as connection:
            return connection.execute(query.encode(), (self.run_id,)).fetchone()


async def test_run_of_a_killed_worker_resumes_within_two_lease_terms(
    cluster: Cluster, client: Client, witness: Path
) -> None:
    held = await Held.begun(cluster, client, "keeps", 40, 0.1, stream_mode="updates")
    reading = asyncio.create_task(client.replay(held.location))
    await asyncio.sleep(0.3)
    holder = await held.holder()
    await asyncio.to_thread(holder.kill)
    killed = time.monotonic()
    await held.in_attempt(2)
    assert time.monotonic() - killed < 2 * TERM
    await asyncio.to_thread(holder.start)
    frames = await reading
    assert [frame.json["attempt"] for frame in frames if frame.event == "metadata"] == [1, 2]
    assert not [frame for frame in frames if frame.event == "gap"]
    steps = [entry for frame in frames if frame.event == "updates" for entry in frame.json["step"]["log"]]
    wanted = [f"it:{number}" for number in range(40)]
    assert list(dict.fromkeys(steps)) == wanted
    assert (await client.values(held.thread_id))["log"] == wanted
    # One step was in progress, and possibly a checkpoint: no other step was taken twice.
    lines = await asyncio.to_thread(witness.read_text)
    begun = [line for line in lines.splitlines() if line.startswith("begin") and held.run_id in line]
    assert len(begun) <= 40 + 2


async def test_frozen_worker_that_wakes_up_writes_nothing_anywhere(cluster: Cluster, client: Client) -> None:
    held = await Held.begun(cluster, client, "keeps", 25, 0.1, stream_mode=["values", "custom"])
    holder = await held.holder()
    freeze(holder)
    try:
        await held.in_attempt(2)
        ended = await client.ended(held.location)
        assert (ended["status"], ended["attempt"]) == ("success", 2)
        await asyncio.sleep(0.5)
        before = held.everything()
    finally:
        thaw(holder)
    await asyncio.sleep(2.5)
    assert held.everything() == before
    assert (await client.values(held.thread_id))["log"] == [f"it:{number}" for number in range(25)]
    # It is fully usable again.
    runs = [await client.create(new_id(), "steps", {"name": "it", "steps": 5}) for _ in range(6)]
    for run in runs:
        await client.ended(f"/threads/{run['thread_id']}/runs/{run['run_id']}")


async def test_terminated_worker_releases_its_runs_to_others(cluster: Cluster, client: Client) -> None:
    held = await Held.begun(cluster, client, "steps", 60, 0.1)
    holder = await held.holder()
    holder.terminate()
    told = time.monotonic()
    await held.in_attempt(2)
    # Released at the end of the grace, not found after the lease expired.
    assert time.monotonic() - told < GRACE + TERM
    assert await asyncio.to_thread(holder.wait) == 0
    await asyncio.to_thread(holder.start)
    ended = await client.ended(held.location)
    assert (ended["status"], ended["attempt"]) == ("success", 2)
    assert (await client.values(held.thread_id))["log"] == [f"it:{number}" for number in range(60)]


async def test_gateway_restart_loses_no_event_for_two_hundred_readers(
    cluster: Cluster, client: Client, tmp_path: Path
) -> None:
    # The runs continue until the gateway is back: on a slow machine they would end before all readers are connected.
    gate = tmp_path / "gate"
    runs = [await Held.begun(cluster, client, "steps", 20, 0.1, gate, stream_mode="updates") for _ in range(4)]
    going = cluster.gateways[0]
    seen: list[list[str]] = [[] for _ in range(200)]
    cut = 0

    async def read(number: int) -> None:
        nonlocal cut
        location, reader, url = runs[number % len(runs)].location, FrameReader(), going.url
        while True:
            had_ended = (await client.get(location))["status"] == "success"
            try:
                headers = {"last-event-id": reader.last_id or "-1"}
                async with client_of_all.stream("GET", f"{url}{location}/stream", headers=headers) as response:
                    async for data in response.aiter_raw():
                        seen[number] += [str(frame.id) for frame in reader.feed(data)]
            except httpx.TransportError:
                reader.cut()
            if had_ended:
                return
            cut, url = cut + 1, cluster.urls[1]

    limits = httpx.Limits(max_connections=500)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client_of_all, Client(cluster.urls[1]) as client:
        reading = [asyncio.create_task(read(number)) for number in range(200)]

        async def all_read() -> bool:
            return all(seen)

        await eventually(all_read)
        going.terminate()
        said = [code async for code in _readiness(going.url)]
        # It accepts connections to report that, and never reports ready again.
        assert set(said[said.index(503) :]) == {503}
        assert await asyncio.to_thread(going.wait) == 0
        await asyncio.to_thread(going.start)
        gate.touch()
        await asyncio.gather(*reading)
        for number, run in enumerate(runs):
            whole = [str(frame.id) for frame in await client.replay(run.location)]
            assert [place_of(one) for one in whole] == [(1, place) for place in range(1, len(whole) + 1)]
            assert all(ids == whole for ids in seen[number :: len(runs)])
    assert cut >= 200


async def _readiness(url: str) -> AsyncIterator[int]:
    """Answers to readiness checks, over a new connection each, until it stops listening."""
    with suppress(httpx.TransportError):
        while True:
            async with httpx.AsyncClient(timeout=5) as client:
                yield (await client.get(f"{url}/ready")).status_code
            await asyncio.sleep(0.05)


async def test_job_delivered_concurrently_is_executed_once(cluster: Cluster, client: Client, witness: Path) -> None:
    runs = [await client.create(new_id(), "steps", _FIVE, after_seconds=1) for _ in range(5)]
    with psycopg.connect(cluster.postgres.url) as connection:
        connection.execute("SET search_path TO runstead")
        for run in runs:
            # Without its queueing lock, which prevents a second job of a run.
            connection.execute(
                "INSERT INTO runstead.procrastinate_jobs (queue_name, task_name, args, scheduled_at)"
                " SELECT queue_name, task_name, args, scheduled_at FROM runstead.procrastinate_jobs,"
                " generate_series(1, 6) WHERE queueing_lock = %s",
                (run["run_id"],),
            )
    ended = [await client.ended(f"/threads/{run['thread_id']}/runs/{run['run_id']}") for run in runs]
    assert {(run["status"], run["attempt"]) for run in ended} == {("success", 1)}
    text = await asyncio.to_thread(witness.read_text)
    for run in runs:
        assert text.count(f"{run['run_id']} 1\n") == 2 * 5
        assert (await client.values(run["thread_id"]))["log"] == log_of("it")

    async def nothing_is_left() -> bool:
        with psycopg.connect(cluster.postgres.url) as connection:
            row = connection.execute("SELECT count(*) FROM runstead.procrastinate_jobs").fetchone()
        return row == (0,)

    await eventually(nothing_is_left)


_FIVE: Final = {"name": "it", "steps": 5, "pause": 0.02}
