"""Leave processes without file descriptors, memory or processor time for the length of a block."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_MORE_MEMORY: Final = 4 * 1024 * 1024
"""Bytes that a process may still allocate."""
_MORE_DESCRIPTORS: Final = 1


@contextmanager
def no_descriptors(pid: int) -> Iterator[None]:
    """Let a process open almost no further files."""
    with _limited(pid, resource.RLIMIT_NOFILE, len(os.listdir(f"/proc/{pid}/fd")) + _MORE_DESCRIPTORS):
        yield


@contextmanager
def no_memory(pid: int) -> Iterator[None]:
    """Let a process allocate almost no memory beyond what it has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    with _limited(pid, resource.RLIMIT_AS, pages * resource.getpagesize() + _MORE_MEMORY):
        yield


@contextmanager
def _limited(pid: int, what: int, limit: int) -> Iterator[None]:
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (limit, before[1]))
    try:
        yield
    finally:
        # It may have died.
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, what, before)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a process and its children; their connections stay open."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, check=True)
    stopped = [pid, *map(int, listed.stdout.split())]
    for one in stopped:
        _send(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in stopped:
            _send(one, signal.SIGCONT)


def _send(pid: int, number: signal.Signals) -> None:
    # Children come and go.
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
