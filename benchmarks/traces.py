"""``python -m benchmarks.traces``: processor time of a run with traces at each level, compared with a run without.

The run is an agent with five calls of a model, each with 200 streamed tokens, and four calls of a tool, which a client
reads. The servers take turns, and send their spans to a receiver that discards them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from . import servers
from .client import Connection
from .servers import Server

_BODY = {
    "assistant_id": "agent",
    "input": {"messages": [{"role": "human", "content": "go on"}]},
    "stream_mode": "messages-tuple",
}


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        return


@contextmanager
def _receiver() -> Iterator[str]:
    """Run a receiver of spans, and yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.traces", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--levels", nargs="*", default=["runs", "calls", "all"], help="levels to compare")
    parser.add_argument("--runs", type=int, default=10, help="runs of each server in a round")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="runstead-traces-")))
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = stack.enter_context(_receiver())
        started = {
            level: stack.enter_context(
                servers.runstead(folder / level, ["traces=true", f"trace_level={level}"] if level != "off" else [])
            )
            for level in ("off", *options.levels)
        }
        used = asyncio.run(_measure(started, options))
    base = used["off"]
    for level, values in used.items():
        # Each round on its own: another program that disturbs a round disturbs all servers of it.
        ratio = statistics.median(value / off for value, off in zip(values, base, strict=True))
        figures = {"median_ms": statistics.median(values), "best_ms": min(values)}
        best = min(values) / min(base)
        print(json.dumps({"level": level, **figures, "median_ratio": round(ratio, 3), "best_ratio": round(best, 3)}))


async def _measure(started: dict[str, Server], options: argparse.Namespace) -> dict[str, list[float]]:
    """Return milliseconds of processor time per run, by level and round."""
    used: dict[str, list[float]] = {level: [] for level in started}
    for number in range(options.rounds + 1):
        for level in started if number % 2 else reversed(started):
            server = started[level]
            before = server.cpu_seconds()
            async with Connection(server.port) as connection:
                for _ in range(options.runs):
                    async for _ in connection.stream("/runs/stream", _BODY):
                        pass
            # The first round warms up.
            if number:
                used[level].append((server.cpu_seconds() - before) / options.runs * 1e3)
    return used


if __name__ == "__main__":
    main()
