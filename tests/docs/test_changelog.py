"""Parallel work and merges can duplicate changelog lines: none may be repeated."""

from __future__ import annotations

import re
from collections import Counter

from tests.docs.pages import ROOT


def test_no_line_is_repeated() -> None:
    lines = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.strip()]
    assert [line for line, times in Counter(lines).items() if times > 1] == []


def test_every_entry_is_under_a_heading() -> None:
    release = (ROOT / "CHANGELOG.md").read_text().partition("\n## ")[2]
    before = release.partition("\n### ")[0]
    assert re.findall(r"^- .*", before, re.MULTILINE) == []
