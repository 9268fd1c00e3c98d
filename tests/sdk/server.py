"""A server process of the real command line, for the length of a block."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serving(place: Path, config: Path, **environment: str) -> Iterator[str]:
    """The URL of a server for ``config`` that keeps its data in ``place``, with these variables besides ours."""
    command = [sys.executable, "-m", "runstead.cli", "serve", "--json", "--port", "0", "--config", str(config)]
    command += ["--data-dir", str(place / "data"), "--set", "heartbeat_seconds=0.3", "--set", "max_body_bytes=200000"]
    # Started somewhere without settings of anybody's, and told of the end by a pipe that closes with this process.
    theirs, ours = os.pipe()
    log = (place / "log").open("wb")
    server = subprocess.Popen(
        [*command, "--parent-fd", str(theirs)],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=log,
        pass_fds=(theirs,),
        env={name: value for name, value in os.environ.items() if not name.startswith("RUNSTEAD_")} | environment,
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
