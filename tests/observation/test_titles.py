"""Titles of threads: from a middleware's model, a custom event, or the state; also of runs that ask a human."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from .conftest import new_thread

CASES = {
    "model": ("titled", {"messages": ["Hello"]}, "A title that a model made"),
    "title": ("asking", {"name": "title"}, "A title of an event"),
    "thread_title": ("asking", {"name": "thread_title"}, "A title of an event"),
    "middleware:title": ("asking", {"name": "middleware:title"}, "A title of an event"),
    "another event": ("asking", {"name": "progress"}, None),
    "state": ("channel", {"name": "any"}, "A title of the state"),
}


@pytest.mark.parametrize("case", CASES)
async def test_thread_is_titled(http: httpx.AsyncClient, case: str) -> None:
    graph, given, title = CASES[case]
    thread = await new_thread(http)
    await http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": graph, "input": given})
    found: dict[str, Any] = (await http.get(f"/threads/{thread}")).json()
    assert found["metadata"].get("title") == title
    assert found["status"] == ("interrupted" if graph == "asking" else "idle")
