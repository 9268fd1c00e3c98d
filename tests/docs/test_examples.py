"""The Python in README and docs runs as written; blocks that need a server or a class of the reader's are marked
no-run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import BLOCK, PAGES, ROOT, blocks

LINK = re.compile(r"\]\((?!https?://)(?P<target>[^)#\s]*)(?:#(?P<place>[^)\s]+))?\)")


def examples() -> Iterator[Any]:
    for block in blocks("python"):
        # Those for pytest run in tests/testing/test_pytest_plugin.py.
        if "no-run" not in block.mark and "pytest" not in block.mark:
            yield pytest.param(block.code, id=block.name)


@pytest.mark.parametrize("code", list(examples()))
def test_example_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "langgraph.json").write_text(
        json.dumps({"dependencies": [], "graphs": {"agent": "runstead.graphs.demo:agent"}})
    )
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "example", "exec"), {"__name__": "example"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_inside_the_project_are_valid(page: Path) -> None:
    for link in LINK.finditer(BLOCK.sub("", page.read_text())):
        target = (page.parent / link["target"]).resolve() if link["target"] else page
        assert target.exists(), f"{page.name} links to {link['target']}"
        if link["place"]:
            assert link["place"] in headings(target), f"{page.name} links to {link['target']}#{link['place']}"


def headings(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    titles = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
