"""`/metrics` counts runs and requests, reads the queue, and has no series for a user."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from runstead.cli.cluster import metrics_port
from runstead.infra.storage.queue_figures import QueueFigures
from runstead.infra.storage.sizes import DatabaseSize
from runstead.infra.telemetry.exposition import MetricsExposition, MetricSources
from runstead.infra.telemetry.run_metrics import RunMetrics
from runstead.resources.storage_errors import StorageUnusable
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import AssistantId, Lease, RunId, RunRecord, RunSpec, RunStatus, ThreadId, WorkerId
from runstead.settings import Settings
from runstead.testing.clock import ManualClock, turn
from runstead.wire.credentials import Credentials
from runstead.wire.errors import Unauthenticated

from .conftest import application_of, execute
from .metrics import Scraped, parsed, scrape


async def test_runs_are_counted_by_graph_and_status(http: httpx.AsyncClient) -> None:
    for kind in ("works", "works", "fails", "asks"):
        await execute(http, kind)
    scraped = await scrape(http)
    assert scraped("runstead_runs_created_total", graph="agent") == 4
    assert scraped("runstead_run_attempts_total", graph="agent") == 4
    for status, number in (("success", 2), ("error", 1), ("waiting", 1)):
        assert scraped("runstead_runs_ended_total", graph="agent", status=status) == number
    assert scraped("runstead_run_pickup_seconds_count", graph="agent") == 4
    assert scraped("runstead_run_duration_seconds_count", graph="agent") == 4


async def test_stored_figures_pools_and_sizes_are_read(http: httpx.AsyncClient) -> None:
    body = {"assistant_id": "agent", "input": {"kind": "works"}, "after_seconds": 3600}
    await http.post("/runs", json=body)
    scraped = await scrape(http)
    assert scraped("runstead_storage_up") == 1
    assert scraped("runstead_runs", status="delayed") == 1
    assert scraped("runstead_runs", status="claimable") == 0
    assert scraped("lg_api_num_pending_runs") == 1
    assert scraped("runstead_worker_slots") == scraped("lg_api_workers_available") == 64
    assert scraped("runstead_database_bytes", part="checkpoints") > 0
    assert scraped("runstead_pool_connections", pool="runs", state="most") == 4
    assert {"runstead_loop_blocks_total", "runstead_streams", "process_open_fds"} <= scraped.names


async def test_requests_are_counted_by_route(http: httpx.AsyncClient) -> None:
    for _ in range(2):
        await http.get(f"/threads/{await execute(http, 'works')}")
    await http.get("/no/such/path")
    scraped = await scrape(http)
    route = {"method": "GET", "route": "/threads/{thread_id}"}
    assert scraped("runstead_http_requests_total", status="200", **route) == 2
    assert scraped("runstead_http_requests_total", method="GET", route="other", status="404") == 1
    assert scraped("lg_api_http_requests_total", method="GET", path="/threads/{thread_id}", status="200") == 2
    latency = "lg_api_http_requests_latency_seconds_bucket"
    assert scraped(latency, method="GET", path="/threads/{thread_id}", le="+Inf") == 2


async def test_json_has_the_form_of_the_reference_server(http: httpx.AsyncClient) -> None:
    await execute(http, "works")
    answer = (await http.get("/metrics", params={"format": "json"})).json()
    assert answer["queue"] == {
        "n_pending": 0,
        "n_running": 0,
        "pending_runs_wait_time_max_secs": None,
        "pending_runs_wait_time_med_secs": None,
        "pending_unblocked_runs_wait_time_max_secs": None,
    }
    assert answer["workers"] == {"max": 64, "active": 0, "available": 64}
    assert {"method": "POST", "path": "/threads", "status": 200, "count": 1} in answer["api"]["http_requests_total"]


async def test_openmetrics_is_returned_if_accepted(http: httpx.AsyncClient) -> None:
    answer = await http.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def _run(number: int, clock: ManualClock, **changed: Any) -> RunRecord:
    now = clock.now()
    record = RunRecord(
        run_id=RunId(f"run-{number}"),
        thread_id=ThreadId(f"thread-{number}"),
        assistant_id=AssistantId("agent"),
        spec=RunSpec(AssistantId("agent"), "agent"),
        actor=ActorContext(f"user-{number}", f"tenant-{number}"),
        status=RunStatus.SUCCESS,
        created_at=now,
        updated_at=now,
        due_at=now,
        started_at=now,
        ended_at=now,
    )
    return replace(record, **changed)


async def _with_runs(metrics: RunMetrics, clock: ManualClock, numbers: range) -> None:
    for number in numbers:
        run = _run(number, clock)
        metrics.run_created(run)
        async with metrics.around_attempt(Lease(run, WorkerId("w"), 1, clock.now())):
            metrics.run_ended(run, None)
        metrics.request("GET", None, 404, 0.1)
        metrics.request(f"X{number}", "/threads/{thread_id}", 200, 0.1)


async def _nothing() -> dict[str, DatabaseSize]:
    return {}


async def _no_queue() -> QueueFigures:
    return QueueFigures()


async def test_thousand_users_add_no_series() -> None:
    clock = ManualClock()
    metrics = RunMetrics(clock, ["agent"])
    exposition = MetricsExposition(metrics, MetricSources(_no_queue, _nothing), clock)
    await _with_runs(metrics, clock, range(1))
    before = {key for key in parsed((await exposition.as_text())[0].decode()) if key[0].startswith(("runstead", "lg_"))}
    await _with_runs(metrics, clock, range(1, 1_001))
    after = {key for key in parsed((await exposition.as_text())[0].decode()) if key[0].startswith(("runstead", "lg_"))}
    assert after == before
    assert Scraped((await exposition.as_text())[0].decode())("runstead_runs_created_total", graph="agent") == 1_001


async def test_graph_that_is_not_served_has_no_series_of_its_own() -> None:
    clock = ManualClock()
    metrics = RunMetrics(clock, ["agent"])
    metrics.run_created(_run(1, clock, spec=RunSpec(AssistantId("gone"), "gone")))
    exposition = MetricsExposition(metrics, MetricSources(_no_queue, _nothing), clock)
    assert Scraped((await exposition.as_text())[0].decode())("runstead_runs_created_total", graph="other") == 1


async def test_wait_behind_an_earlier_run_is_not_pickup_time() -> None:
    clock = ManualClock()
    metrics = RunMetrics(clock, ["agent"])
    first = _run(1, clock)
    second = _run(2, clock, thread_id=first.thread_id)
    await clock.advance(60)
    metrics.run_ended(_run(1, clock, ended_at=clock.now()), None)
    await clock.advance(2)
    async with metrics.around_attempt(Lease(second, WorkerId("w"), 1, clock.now() + timedelta(seconds=10))):
        pass
    exposition = MetricsExposition(metrics, MetricSources(_no_queue, _nothing), clock)
    scraped = Scraped((await exposition.as_text())[0].decode())
    assert scraped("runstead_run_wait_seconds_sum", graph="agent") == 62
    assert scraped("runstead_run_pickup_seconds_sum", graph="agent") == 2


async def test_counters_are_reported_without_the_storage() -> None:
    async def broken() -> QueueFigures:
        raise OSError("no database")

    clock = ManualClock()
    metrics = RunMetrics(clock, ["agent"])
    metrics.run_created(_run(1, clock))
    scraped = Scraped((await MetricsExposition(metrics, MetricSources(broken, _nothing), clock).as_text())[0].decode())
    assert scraped("runstead_storage_up") == 0
    assert scraped("runstead_runs_created_total", graph="agent") == 1
    assert "runstead_runs" not in scraped.names


async def test_storage_is_read_once_in_five_seconds() -> None:
    asked = 0

    async def queue() -> QueueFigures:
        nonlocal asked
        asked += 1
        return QueueFigures()

    clock = ManualClock()
    exposition = MetricsExposition(RunMetrics(clock, []), MetricSources(queue, _nothing), clock)
    for _ in range(3):
        await exposition.as_text()
    assert asked == 1
    await clock.advance(5)
    await exposition.as_text()
    assert asked == 2


async def test_two_scrapers_at_once_get_the_same_figures() -> None:
    read = asyncio.Event()

    async def queue() -> QueueFigures:
        await read.wait()
        return QueueFigures(dead_letters=3)

    clock = ManualClock()
    exposition = MetricsExposition(RunMetrics(clock, []), MetricSources(queue, _nothing), clock)
    both = [asyncio.create_task(exposition.as_text()) for _ in range(2)]
    await turn()
    read.set()
    for text, _ in await asyncio.gather(*both):
        assert Scraped(text.decode())("runstead_dead_letters") == 3


async def test_counters_of_a_graph_begin_at_zero() -> None:
    """Otherwise the first failure after a start would be no increase."""
    clock = ManualClock()
    exposition = MetricsExposition(RunMetrics(clock, ["agent"]), MetricSources(_no_queue, _nothing), clock)
    scraped = Scraped((await exposition.as_text())[0].decode())
    assert scraped("runstead_runs_ended_total", graph="agent", status="dead_letter") == 0
    assert scraped("runstead_attempts_lost_total", graph="agent") == 0


@pytest.mark.parametrize("scope", ["metrics", "*"])
async def test_with_authentication_metrics_need_the_scope_unless_they_are_open(tmp_path: Path, scope: str) -> None:
    class Tokens:
        async def authenticate(self, credentials: Credentials) -> ActorContext:
            token = credentials.headers.get("x-token")
            if token is None:
                raise Unauthenticated("no token")
            return ActorContext("alice", "t", scopes=frozenset([token]))

    application = application_of(tmp_path / "data", authenticator=Tokens(), metrics_scope=scope)
    transport = httpx.ASGITransport(application.asgi)
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        statuses = [
            (await http.get("/metrics", headers=headers)).status_code
            for headers in ({}, {"x-token": "other"}, {"x-token": "metrics"})
        ]
        assert statuses == ([200, 200, 200] if scope == "*" else [401, 403, 200])


async def test_port_of_its_own_serves_metrics_and_health_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    application = application_of(tmp_path / "data", metrics_port=0)
    with caplog.at_level("INFO"):
        async with application.running(), httpx.AsyncClient() as http:
            url = next(r.getMessage() for r in caplog.records if "metrics are served" in r.getMessage()).split()[-1]
            answer = await http.get(url)
            assert Scraped(answer.text)("runstead_storage_up") == 1
            assert (await http.get(url.replace("metrics", "ready"))).json() == {"ready": True}
            assert (await http.get(url.replace("metrics", "threads"))).status_code == 404
            assert "queue" in (await http.get(url, params={"format": "json"})).json()


def test_workers_of_a_cluster_on_one_machine_have_the_ports_after_the_gateways() -> None:
    assert [metrics_port(Settings(metrics_port=9464), number) for number in (1, 2)] == [
        ["--set", "metrics_port=9465"],
        ["--set", "metrics_port=9466"],
    ]
    assert metrics_port(Settings(), 1) == metrics_port(Settings(metrics_port=0), 1) == []


async def test_taken_port_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        application = application_of(tmp_path / "data", metrics_port=taken.getsockname()[1])
        with pytest.raises(StorageUnusable, match="choose another metrics_port"):
            async with application.running():
                pass
