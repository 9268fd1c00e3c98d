"""Servers as child processes, on free loopback ports, which end with the block."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runstead.cli.servers.ports import free_port
from runstead.cli.servers.postgres import PostgresServer
from runstead.cli.servers.valkey import ValkeyServer

_HERE: Final = Path(__file__).parent
_START_WITHIN: Final = 180.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    name: str
    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of all its threads so far; 0 if the system does not provide them."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def runstead(data_dir: Path, settings: Sequence[str] = (), sources: Path | None = None) -> Iterator[Server]:
    """Run ``runstead serve`` with defaults. ``settings`` are NAME=VALUE; ``sources`` are those of another version."""
    port = free_port()
    command = ["-m", "runstead.cli", "serve", "--config", str(_HERE / "langgraph.json"), "--port", str(port)]
    command += ["--data-dir", str(data_dir), *(part for setting in settings for part in ("--set", setting))]
    environ = {} if sources is None else {"PYTHONPATH": str(sources.resolve())}
    with _running("runstead", command, port, environ) as server:
        yield server


@contextmanager
def cluster(folder: Path) -> Iterator[Server]:
    """Run a gateway that executes no runs, and one worker, on their own PostgreSQL and Valkey."""
    postgres = PostgresServer(folder / "postgres")
    postgres.start()
    valkey = ValkeyServer(folder / "valkey")
    valkey.start()
    environ = {"RUNSTEAD_DATABASE_URL": postgres.url, "RUNSTEAD_REDIS_URL": valkey.url}
    port, config = free_port(), str(_HERE / "langgraph.json")
    serve = ["-m", "runstead.cli", "serve", "--workers", "0", "--config", config, "--port", str(port)]
    work = ["-m", "runstead.cli", "worker", "--config", config]
    try:
        with _running("cluster", serve, port, environ) as server, _process(work, environ):
            yield server
    finally:
        valkey.stop()
        postgres.stop()


@contextmanager
def floor(file: Path | None = None) -> Iterator[Server]:
    """Run a floor of `reference`: ``floor-durable`` if it gets a file for its rows, otherwise ``floor``."""
    port, rest = free_port(), [] if file is None else [str(file)]
    name = "floor" if file is None else "floor-durable"
    with _running(name, ["-m", "benchmarks.reference", str(port), *rest], port) as server:
        yield server


@contextmanager
def _running(
    name: str, command: Sequence[str], port: int, environ: Mapping[str, str] | None = None
) -> Iterator[Server]:
    with _process(command, environ or {}) as process:
        patience = time.monotonic() + _START_WITHIN
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > patience:
                raise RuntimeError(f"{name} did not start")
            time.sleep(0.05)
        yield Server(name, port, process.pid)


@contextmanager
def _process(command: Sequence[str], environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=_HERE.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **environ},
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/ok")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
