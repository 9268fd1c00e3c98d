"""Files and folders that pages name between backticks exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.docs.pages import ROOT, spans

PAGES: Final = [ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md", ROOT / "docs" / "adapters.md"]
PATH: Final = re.compile(r"[.\w][\w.-]*/[\w./*-]*|[\w./*-]+/[\w.-]+\.py")
ROOTS: Final = (ROOT, ROOT / "src" / "runstead", ROOT / "src" / "runstead" / "runtime" / "runs", ROOT / "tests")
# Made by make, never committed.
GENERATED: Final = {"build/site", "dist/"}


def named_paths() -> Iterator[Any]:
    for page in PAGES:
        for span in dict.fromkeys(spans(page)):
            if PATH.fullmatch(span) and span not in GENERATED:
                yield pytest.param(page, span, id=f"{page.name}-{span}")


@pytest.mark.parametrize(("page", "path"), list(named_paths()))
def test_path_named_on_a_page_exists(page: Path, path: str) -> None:
    pattern = path.rstrip("/")
    assert any(list(root.glob(pattern)) for root in ROOTS), f"{page.name} names {path}"
