"""Decisions are found by number: each number is used once, in file name, heading and list."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, TEXTS

DECISIONS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
NUMBERS = {int(page.name.partition("-")[0]): page for page in DECISIONS}
MENTION = re.compile(r"\bADR (\d+)|\badr/(\d{4})(?![\w-]*\.md)")


def test_decision_numbers_are_unique() -> None:
    assert len(NUMBERS) == len(DECISIONS)


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_decision_is_headed_by_its_number_and_listed(page: Path) -> None:
    number = int(page.name.partition("-")[0])
    assert page.read_text().startswith(f"# {number}. ")
    listed = (page.parent / "README.md").read_text()
    assert f"[{number}]({page.name})" in listed, f"docs/adr/README.md has no line for {page.name}"


def test_every_mentioned_decision_exists() -> None:
    found = [(text.name, int(a or b)) for text in TEXTS for a, b in MENTION.findall(text.read_text())]
    assert found, "the code refers to decisions"
    assert [mention for mention in found if mention[1] not in NUMBERS] == []
