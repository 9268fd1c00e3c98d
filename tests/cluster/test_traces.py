"""One trace over gateway, queue, a worker that is killed, and the second attempt on another worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.processes.client import eventually

from .conftest import balanced
from .nodes import Cluster
from .storm.storm import GRAPHS
from .test_takeover import Held

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Collector:
    """A receiver of OTLP over HTTP, which keeps the spans."""

    def __init__(self) -> None:
        self._spans: list[Any] = []
        self._lock = threading.Lock()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
                collector.add(request)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def add(self, request: ExportTraceServiceRequest) -> None:
        with self._lock:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    self._spans.extend(scope.spans)

    def spans(self, name: str) -> list[Any]:
        with self._lock:
            return [span for span in self._spans if span.name == name and span.trace_id.hex() == TRACE]


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


@pytest.fixture
def cluster(tmp_path: Path, collector: Collector) -> Iterator[Cluster]:
    environ = {
        "STORM_WITNESS": str(tmp_path / "steps"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    with Cluster.running(tmp_path, gateways=1, workers=2, config=GRAPHS, environ=environ, traces=True) as cluster:
        yield cluster


def attributes_of(span: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


async def test_trace_survives_a_killed_worker(cluster: Cluster, collector: Collector, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with balanced(cluster) as client:
        client.http.headers["traceparent"] = f"00-{TRACE}-b7ad6b7169203331-01"
        held = await Held.begun(cluster, client, "steps", 50, 0.05, gate)
        del client.http.headers["traceparent"]

        async def is_exported() -> bool:
            return bool(collector.spans("POST /threads/{thread_id}/runs") and collector.spans("queue steps"))

        await eventually(is_exported)
        (await held.holder()).kill()
        await held.in_attempt(2)
        gate.touch()
        await client.ended(held.location)

        async def is_complete() -> bool:
            return bool(collector.spans("run steps"))

        await eventually(is_complete)
    (request,) = collector.spans("POST /threads/{thread_id}/runs")
    (attempt,) = collector.spans("run steps")
    assert attempt.parent_span_id == request.span_id
    assert attributes_of(attempt)["runstead.run.attempt"] == 2
    assert attributes_of(attempt)["runstead.run.id"] == held.run_id
