"""Tracing with LangSmith: the target of traces, and activation by the operator only."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from .conftest import GRAPHS
from .server import serving

HI = {"messages": [{"role": "human", "content": "hi"}]}
TRACE_ID = "01a202ac-a895-7148-89f0-26ba5aeb42ff"
HEADERS = {
    "langsmith-trace": f"20261122T000000000000Z{TRACE_ID}",
    "baggage": "langsmith-metadata=%7B%22whose%22%3A%22caller%22%7D,langsmith-project=callers",
}


class Smith:
    """Receives traces."""

    def __init__(self) -> None:
        self.got = b""
        self.url = ""

    def has(self, *texts: bytes, within: float = 20) -> bool:
        until = time.monotonic() + within
        while time.monotonic() < until:
            if all(text in self.got for text in texts):
                return True
            time.sleep(0.05)
        return False


@contextmanager
def a_smith() -> Iterator[Smith]:
    smith = Smith()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            smith.got += self.rfile.read(int(self.headers["content-length"] or 0))
            self._answer()

        def do_PATCH(self) -> None:
            self.do_POST()

        def _answer(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        smith.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield smith
        finally:
            server.shutdown()


@contextmanager
def traced(place: Path, tracing: str) -> Iterator[tuple[Smith, httpx.Client]]:
    """A client of a server that traces to a fake LangSmith."""
    with a_smith() as smith:
        environment = {
            "LANGSMITH_TRACING": tracing,
            "LANGSMITH_ENDPOINT": smith.url,
            "LANGSMITH_API_KEY": "key",
            "LANGSMITH_PROJECT": "ours",
            "LANGSMITH_DISABLE_RUN_COMPRESSION": "true",
        }
        with serving(place, GRAPHS, **environment) as url, httpx.Client(base_url=url, timeout=30) as http:
            yield smith, http


def test_trace_goes_to_the_named_project_under_the_caller_s_trace(tmp_path: Path) -> None:
    with traced(tmp_path, "true") as (smith, http):
        http.post("/runs/wait", json={"assistant_id": "agent", "input": HI})
        assert smith.has(b'"session_name":"ours"')
        body = {"assistant_id": "agent", "input": HI, "langsmith_tracer": {"project_name": "theirs"}}
        told = http.post("/runs/wait", json=body)
        assert "runstead-remark" not in told.headers
        assert smith.has(b'"session_name":"theirs"')
        assert TRACE_ID.encode() not in smith.got
        http.post("/runs/wait", json={"assistant_id": "agent", "input": HI}, headers=HEADERS)
        assert smith.has(TRACE_ID.encode(), b'"whose":"caller"', b'"session_name":"callers"')


def test_client_cannot_enable_tracing(tmp_path: Path) -> None:
    with traced(tmp_path, "false") as (smith, http):
        body = {"assistant_id": "agent", "input": HI, "langsmith_tracer": {"project_name": "theirs"}}
        told = http.post("/runs/wait", json=body, headers=HEADERS)
        assert "langsmith_tracer" in told.headers["runstead-remark"]
        assert not smith.has(b"s", within=1)
