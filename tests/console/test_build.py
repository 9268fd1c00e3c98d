"""The built console is the one that its sources make, small enough, and part of the package."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Final

from runstead.gateway.routes.console import FOLDER
from tests.clients.node import CONSOLE, Node

from .build import build

_LARGEST_FIRST_LOAD: Final = 120_000
"""Bytes, compressed: the page, its style and the scripts that it loads before it shows anything."""


def test_committed_console_is_built_from_its_sources(node: Node, tmp_path: Path) -> None:
    build(node, tmp_path / "built")
    built, committed = (
        {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        for folder in (tmp_path / "built", FOLDER)
    )
    assert sorted(built) == sorted(committed), "run `make console` and commit the result"
    assert [name for name in built if built[name] != committed[name]] == [], "run `make console` and commit the result"


def test_first_load_is_small() -> None:
    page = (FOLDER / "index.html").read_text()
    first = {*re.findall(r'(?:src|href)="[.]/([^"]+)"', page), "index.html"}
    # The first page is a script of its own, with those that it imports.
    pending = [f"assets/{name.name}" for name in (FOLDER / "assets").glob("runs-*.js")]
    while pending:
        name = pending.pop()
        first.add(name)
        imported = re.findall(r'from ?"[.]/([^"]+)"', (FOLDER / name).read_text())
        pending += [f"assets/{one}" for one in imported if f"assets/{one}" not in first]
    sizes = {name: len(gzip.compress((FOLDER / name).read_bytes())) for name in first}
    assert sum(sizes.values()) < _LARGEST_FIRST_LOAD, sizes
    assert len(sizes) > 4, "the scripts of the first page have other names"


def test_sources_of_the_console_are_small() -> None:
    sources = [file for file in (CONSOLE / "src").rglob("*") if file.suffix in (".ts", ".tsx", ".css")]
    assert [file.name for file in sources if len(file.read_text().splitlines()) > 300] == []
