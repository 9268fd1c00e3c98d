"""Log lines about runs and requests, and the ids on the lines of agent code."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest
import structlog
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from runstead import Application
from runstead.cli.cluster import how_it_ended
from runstead.cli.log_writer import LogWriter
from runstead.cli.logs import configure_logging
from runstead.infra.telemetry.run_log import RunLog
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import AssistantId, RunId, RunRecord, RunSpec, RunStatus, ThreadId
from runstead.settings import Settings
from tests.servers.sqlite import current_data

from .conftest import application_of, execute

Lines = list[dict[str, Any]]
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def a_run(*, attempt: int) -> RunRecord:
    return RunRecord(
        run_id=RunId("run-1"),
        thread_id=ThreadId("thread-1"),
        assistant_id=AssistantId("agent"),
        spec=RunSpec(AssistantId("agent"), "agent"),
        actor=ActorContext("user", "tenant"),
        status=RunStatus.PENDING,
        created_at=NOW,
        updated_at=NOW,
        due_at=NOW,
        attempt=attempt,
    )


class Said:
    """Lines that were logged as JSON."""

    def __init__(self, stream: io.StringIO, handler: LogWriter) -> None:
        self._stream, self._handler = stream, handler

    @property
    def lines(self) -> Lines:
        assert self._handler.wait_until_written(30)
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]

    def of(self, event: str) -> Lines:
        return [line for line in self.lines if line["event"] == event]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[Said]:
    root = logging.getLogger()
    before, level = root.handlers, root.level
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging(Settings(log_format="json"))
    (handler,) = root.handlers
    assert isinstance(handler, LogWriter)
    yield Said(stream, handler)
    root.handlers = before
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
async def http(tmp_path: Path, said: Said) -> AsyncIterator[httpx.AsyncClient]:
    application = application_of(tmp_path / "data")
    transport = httpx.ASGITransport(application.asgi)
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def test_run_has_a_line_when_created_started_and_ended(http: httpx.AsyncClient, said: Said) -> None:
    thread = await execute(http, "works", headers={"x-request-id": "req-1"})
    (created,), (started,), (ended,) = said.of("run created"), said.of("run started"), said.of("run ended")
    for line in (created, started, ended):
        assert (line["thread_id"], line["graph"], line["request_id"]) == (thread, "agent", "req-1")
        assert line["run_id"]
        assert line["user"]
        assert line["level"] == "info"
    assert (started["attempt"], ended["status"], ended["tokens"]) == (1, "success", 0)
    assert ended["seconds"] >= 0


async def test_run_that_asks_waits_and_one_that_fails_names_its_error(http: httpx.AsyncClient, said: Said) -> None:
    await execute(http, "asks")
    await execute(http, "fails")
    assert [line["status"] for line in said.of("run waits for input")] == ["waiting"]
    (ended,) = said.of("run ended")
    assert (ended["status"], ended["error"]) == ("error", "ValueError")
    (failed,) = [line for line in said.lines if line["event"].endswith(" failed")]
    assert (failed["level"], failed["run_id"], failed["graph"]) == ("warning", ended["run_id"], "agent")


async def test_request_has_a_line_and_its_id_is_returned(http: httpx.AsyncClient, said: Said) -> None:
    answer = await http.get("/threads/nope?key=secret", headers={"x-request-id": "req-2"})
    assert answer.headers["x-request-id"] == "req-2"
    (line,) = said.of("request answered")
    assert (line["method"], line["path"], line["status"], line["request_id"]) == ("GET", "/threads/nope", 422, "req-2")
    assert "secret" not in json.dumps(line)


async def test_unfit_request_id_is_replaced(http: httpx.AsyncClient) -> None:
    answer = await http.get("/info", headers={"x-request-id": "a b\\n" + "x" * 200})
    assert len(answer.headers["x-request-id"]) == 32


async def test_health_checks_have_no_line_at_info(http: httpx.AsyncClient, said: Said) -> None:
    for path in ("/ok", "/ready", "/metrics"):
        await http.get(path)
    assert said.of("request answered") == []


class State(TypedDict, total=False):
    kind: str


async def test_lines_of_agent_code_have_the_ids_of_their_run(tmp_path: Path, said: Said) -> None:
    async def by_logging(state: State) -> State:
        logging.getLogger("my.agent").info("from logging")
        return {}

    def by_structlog(state: State) -> State:
        # In a thread, as synchronous nodes are.
        structlog.get_logger().warning("from structlog", amount=5)
        return {}

    builder = StateGraph(State).add_node(by_logging).add_node(by_structlog)
    graph = builder.add_edge(START, "by_logging").add_edge("by_logging", "by_structlog").compile()
    application = Application({"agent": graph}, port=0, data_dir=current_data(tmp_path / "data"))
    transport = httpx.ASGITransport(application.asgi)
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        thread = await execute(http, "works", headers={"x-request-id": "req-3"})
    (ended,), (one,), (two,) = said.of("run ended"), said.of("from logging"), said.of("from structlog")
    for line in (one, two):
        found = {name: line[name] for name in ("run_id", "thread_id", "graph", "attempt", "request_id")}
        assert found == {
            "run_id": ended["run_id"],
            "thread_id": thread,
            "graph": "agent",
            "attempt": 1,
            "request_id": "req-3",
        }
    assert two["amount"] == 5


def test_stream_that_is_not_read_stops_no_caller_and_lost_lines_are_counted() -> None:
    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            entered.set()
            assert released.wait(60)
            return super().write(text)

    entered, released, stream = threading.Event(), threading.Event(), Stuck()
    handler = LogWriter(stream, lines=2)
    record = logging.makeLogRecord({"msg": "line", "levelno": logging.INFO})
    handler.handle(record)
    assert entered.wait(60)
    for _ in range(5):
        handler.handle(record)
    released.set()
    assert handler.wait_until_written(60)
    assert stream.getvalue().splitlines() == ["line"] * 3 + ["3 log lines were dropped: standard error was not read"]


def test_lines_at_the_end_of_a_process_are_written() -> None:
    code = """
        import logging
        from runstead.cli.logs import configure_logging
        from runstead.settings import Settings

        configure_logging(Settings())
        for number in range(500):
            logging.getLogger("x").info("line %d", number)
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)], capture_output=True, text=True, timeout=60, check=True, env=os.environ
    )
    assert done.stderr.count("line ") == 500


def test_lost_attempt_has_the_fields_of_its_run(said: Said) -> None:
    run = a_run(attempt=2)
    RunLog().attempt_lost(run)
    RunLog().attempt_lost(replace(run, dead_letter=True))
    first, last = said.of("run lost its worker")
    assert (first["run_id"], first["graph"], first["attempt"]) == ("run-1", "agent", 2)
    assert (first["next"], last["next"]) == ("waits for another worker", "dead letter")


def test_ended_process_of_a_cluster_is_named_with_the_reason() -> None:
    assert how_it_ended(0, 1) == "the gateway ended with exit code 1"
    assert how_it_ended(2, -15) == "worker 2 was killed by signal 15"
    assert how_it_ended(1, -9) == "worker 1 was killed by signal 9, perhaps for lack of memory"
