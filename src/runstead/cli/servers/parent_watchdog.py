"""Guarantee that a third-party process ends with this one, however this one ends.

A small guardian process reads the other end of a pipe. When it closes, because this process closed it or ended, even by
SIGKILL, the guardian ends the third-party process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Final

# Runs alone, without site-packages: it starts in milliseconds and needs no other code.
_GUARDIAN: Final = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
pid, polite, patience = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
os.read(0, 1)
try:
    # A stopped process hears nothing but these two.
    os.kill(pid, signal.SIGCONT)
    os.kill(pid, polite)
    until = time.monotonic() + patience
    while time.monotonic() < until:
        os.kill(pid, 0)
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
except ProcessLookupError:
    pass
"""


class ParentWatchdog:
    """Lifeline of one process. ``polite`` is the signal that asks it to end; after ``patience`` seconds it is
    killed."""

    def __init__(self, pid: int, polite: signal.Signals = signal.SIGTERM, patience: float = 5.0) -> None:
        reading, self._writing = os.pipe()
        command = [sys.executable, "-I", "-S", "-c", _GUARDIAN, str(pid), str(int(polite)), str(patience)]
        try:
            # In its own process group: Ctrl-C is for this process, and reaches the guardian through the pipe.
            self._guardian = subprocess.Popen(
                command, stdin=reading, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0
            )
        finally:
            os.close(reading)

    def release(self) -> None:
        """Release the guardian: the process has ended, and its pid may be reused."""
        self._guardian.kill()
        self._guardian.wait()
        os.close(self._writing)
