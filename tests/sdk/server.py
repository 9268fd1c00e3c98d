"""A server process of the real command line, for the length of a block; or a cluster of them.

With ``RUNSTEAD_TEST_PROFILE=cluster`` all tests here run, unchanged, against two gateways behind a balancer and two
workers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.cluster.nodes import Cluster
from tests.environment import child_environment
from tests.servers.proxy import TcpProxy

PROFILE_VARIABLE: Final = "RUNSTEAD_TEST_PROFILE"
_SETTINGS: Final[dict[str, Any]] = {"heartbeat_seconds": 0.3, "max_body_bytes": 200_000}


@contextmanager
def serving(place: Path, config: Path, **environment: str) -> Iterator[str]:
    """The URL of a server for ``config`` that stores its data in ``place``, with these additional variables."""
    one = cluster_serving if os.environ.get(PROFILE_VARIABLE) == "cluster" else _serving
    with one(place, config, **environment) as url:
        yield url


@contextmanager
def cluster_serving(place: Path, config: Path, **environment: str) -> Iterator[str]:
    """The same with a whole cluster: each connection goes to another gateway, and each run to another worker."""
    with (
        Cluster.running(place, workers=2, config=config, environ=environment, **_SETTINGS) as cluster,
        TcpProxy.running([gateway.port for gateway in cluster.gateways]) as balancer,
    ):
        yield balancer.url


@contextmanager
def _serving(place: Path, config: Path, **environment: str) -> Iterator[str]:
    command = [sys.executable, "-m", "runstead.cli", "serve", "--json", "--port", "0", "--config", str(config)]
    command += ["--data-dir", str(place / "data")]
    for name, value in _SETTINGS.items():
        command += ["--set", f"{name}={value}"]
    # Started in a folder without settings, and ended by a pipe that closes with this process.
    theirs, ours = os.pipe()
    log = (place / "log").open("wb")
    server = subprocess.Popen(
        [*command, "--parent-fd", str(theirs)],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=log,
        pass_fds=(theirs,),
        env=child_environment(environment),
    )
    os.close(theirs)
    assert server.stdout is not None
    try:
        while (said := json.loads(server.stdout.readline() or '{"event": "ended"}'))["event"] != "started":
            assert said["event"] != "ended", (place / "log").read_text()
        yield said["url"]
    finally:
        os.close(ours)
        server.wait(timeout=30)
        server.stdout.close()
        log.close()
