"""The published @ag-ui/langgraph under node: CopilotKit's client for LangGraph servers."""

from __future__ import annotations

import pytest

from .conftest import Suites
from .node import CLIENTS
from .suite import titles_of

FILE = CLIENTS / "agui" / "agent.test.mjs"


@pytest.mark.parametrize("title", titles_of(FILE))
def test_agent(title: str, suites: Suites, url: str, request: pytest.FixtureRequest) -> None:
    chosen = [item.callspec.params.get("title") for item in request.session.items if hasattr(item, "callspec")]
    titles = [each for each in titles_of(FILE) if each in chosen]
    variables = {"SERVER_URL": url, "SUPPRESS_TRANSFORMATION_WARNINGS": "true"}
    suites(FILE, variables, titles).check(title)
