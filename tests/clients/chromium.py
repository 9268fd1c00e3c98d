"""A headless Chromium of this machine, which JavaScript tests drive over its debugging port. It makes no external
connections.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

_FLAGS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP *.example 127.0.0.1",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
)  # fmt: skip
_START_WITHIN: Final = 60.0


def find_chromium() -> str | None:
    """Return the path of a Chromium: the headless shell, which needs less CPU, or the whole browser."""
    return shutil.which("chromium-headless-shell") or shutil.which("chromium")


class Chromium:
    """One browser with a new profile, until `stop`."""

    def __init__(self, program: str, profile: Path) -> None:
        self._log = profile.with_suffix(".log")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        self.url = self._debugging_url()

    def stop(self) -> None:
        # Its child processes are in its session.
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _debugging_url(self) -> str:
        patience = time.monotonic() + _START_WITHIN
        while not (found := re.search(r"DevTools listening on (ws://\S+)", self._log.read_text(errors="replace"))):
            if self._process.poll() is not None or time.monotonic() > patience:
                self.stop()
                raise RuntimeError(f"chromium did not start:\n{self._log.read_text(errors='replace')[-4_000:]}")
            time.sleep(0.05)
        return found[1]
