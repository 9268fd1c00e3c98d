"""The site is built from the pages: strictly, completely, and without resources of other hosts."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT

BUILD = ROOT / ".ci" / "docs.py"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "out"
    done = subprocess.run([sys.executable, "-I", BUILD, "--out", out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def pages_of(entries: list[Any]) -> Iterator[str]:
    """Yield the pages of a navigation."""
    for entry in entries:
        for target in entry.values():
            yield from [target] if isinstance(target, str) else pages_of(target)


def test_every_page_is_in_the_navigation() -> None:
    config = tomllib.loads((ROOT / ".ci" / "zensical.toml").read_text())
    named = set(pages_of(config["project"]["nav"]))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} <= named


def test_site_has_reference_pages_made_from_the_code(site: Path) -> None:
    assert "POST /threads/{thread_id}/runs/stream" in (site / "http.html").read_text()
    assert "runstead webhooks redeliver" in (site / "cli.html").read_text()
    assert "create_and_stream" in (site / "python.html").read_text()
    assert "two_workers" in (site / "examples.html").read_text()


def test_site_loads_nothing_from_other_hosts(site: Path) -> None:
    loaded = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"?(https?:[^\"\s>]+)[^>]*>")
    for page in site.rglob("*.html"):
        tags = [tag for tag in loaded.finditer(page.read_text()) if 'rel="canonical"' not in tag[0]]
        assert [tag[1] for tag in tags] == [], page
        assert 'class="mermaid"' not in page.read_text(), "a diagram would load a script: use an SVG file"
