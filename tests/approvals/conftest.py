"""The whole application in process, with graphs that ask; users are named by a header."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.assistants import Served, served_from

GRAPHS = Path(__file__).parent / "langgraph.json"
ALICE, BOB, CAROL = ({"x-user": name} for name in ("alice", "bob", "carol"))


@dataclass(frozen=True)
class Client:
    """Client of the application, with short forms of common requests."""

    http: httpx.AsyncClient

    async def ask(self, graph: str = "asker", rules: dict[str, Any] | None = None, **body: Any) -> dict[str, Any]:
        """Let a graph ask alice on a new thread; return the approval."""
        thread = (await self.http.post("/threads", json={}, headers=ALICE)).json()["thread_id"]
        given = {"assistant_id": graph, "input": {"rules": rules or {}}, **body}
        done = await self.http.post(f"/threads/{thread}/runs/wait", json=given, headers=ALICE)
        assert done.status_code == 200, done.text
        (approval,) = await self.list(thread_id=thread)
        return approval

    async def list(self, who: dict[str, str] = ALICE, **params: Any) -> list[dict[str, Any]]:
        found = await self.http.get("/approvals", params=params, headers=who)
        assert found.status_code == 200, found.text
        return list(found.json())

    async def get(self, approval: dict[str, Any], who: dict[str, str] = ALICE) -> dict[str, Any]:
        return dict((await self.http.get(f"/approvals/{approval['approval_id']}", headers=who)).json())

    async def answer(self, approval: dict[str, Any], answer: object, who: dict[str, str] = ALICE, **body: Any) -> Any:
        return await self.post(approval, "answer", {"answer": answer, **body}, who)

    async def post(self, approval: dict[str, Any], what: str, body: object, who: dict[str, str] = ALICE) -> Any:
        return await self.http.post(f"/approvals/{approval['approval_id']}/{what}", json=body, headers=who)

    async def joined(self, run_id: str) -> Any:
        return (await self.http.get(f"/runs/{run_id}/join", headers=ALICE)).json()


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return served_from(tmp_path)


@pytest.fixture
async def client(served: Served) -> AsyncIterator[Client]:
    async with served(users=True, graphs=GRAPHS) as http:
        yield Client(http)
