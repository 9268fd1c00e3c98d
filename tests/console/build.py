"""The build of the console from its sources, with the node of the tests:  python -m tests.console.build"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from runstead.gateway.routes.console import FOLDER
from tests.clients.node import CONSOLE, Node, NodeMissing, find_node


def build(node: Node, out: Path) -> None:
    """Check the form and types of the sources, and build them into the folder ``out``. Raises CalledProcessError."""
    _run(node, "prettier/bin/prettier.cjs", "--check", "--log-level=warn", ".")
    _run(node, "typescript/bin/tsc", "--noEmit")
    _run(node, "vite/bin/vite.js", "build", "--outDir", str(out), "--emptyOutDir", "--logLevel=warn")


def _run(node: Node, program: str, *arguments: str) -> None:
    command = [node.node, f"node_modules/{program}", *arguments]
    subprocess.run(command, cwd=CONSOLE, env=node.environment, check=True)


if __name__ == "__main__":
    try:
        installed = find_node()
        installed.install(CONSOLE)
    except NodeMissing as missing:
        sys.exit(f"the console cannot be built: {missing}")
    build(installed, FOLDER)
