"""A graph whose node works with the files of its thread."""

from __future__ import annotations

import asyncio
import os
from typing import Any, TypedDict

from langgraph.graph import START, StateGraph

from runstead.workspace import current_workspace, workspace_backend

BACKEND = workspace_backend()


class State(TypedDict, total=False):
    uploaded: str
    note: str
    listed: list[str]


def work(state: State) -> dict[str, Any]:
    files = current_workspace()
    found = [path for path in sorted(files.uploads.iterdir()) if path.is_file()]
    uploaded = found[0].read_text() if found else ""
    (files.outputs / "report.html").write_text(f"<b>{uploaded}</b>")
    os.symlink("/etc", files.outputs / "link") if not (files.outputs / "link").is_symlink() else None
    notes = files.memory / "notes.txt"
    notes.write_text((notes.read_text() if notes.exists() else "") + "x")
    BACKEND.write("/workspace/plan.md", "plan")
    listed = [entry["path"] for entry in BACKEND.ls("/workspace").entries or []]
    return {"uploaded": uploaded, "note": notes.read_text(), "listed": listed}


worker = StateGraph(State).add_node("work", work).add_edge(START, "work").compile()


class Steps(TypedDict, total=False):
    done: bool


def first(state: Steps) -> dict[str, Any]:
    (current_workspace().outputs / "first").write_bytes(b"1")
    return {"done": True}


async def second(state: Steps) -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


steps = (
    StateGraph(Steps)
    .add_node("first", first)
    .add_node("second", second)
    .add_edge(START, "first")
    .add_edge("first", "second")
    .compile()
)
