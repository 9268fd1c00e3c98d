"""A run is stopped while a model is streaming: the node stays pending, and only its answer is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.browser import Browser

from .conftest import Served

GRAPHS = Path(__file__).parent / "stopped_graphs.json"
SO_FAR = "one two three "
WHOLE = "one two three four five "


@pytest.fixture
async def browser(served: Served) -> AsyncIterator[Browser]:
    async with served(graphs=GRAPHS) as browser:
        yield browser


class Gate:
    """Models wait for it after three words, and report that."""

    def __init__(self, file: Path) -> None:
        self._file, self._reached = file, file.with_suffix(".reached")

    @property
    def question(self) -> dict[str, Any]:
        """An input that names the gate."""
        return {"messages": [{"role": "user", "content": str(self._file)}]}

    def open(self) -> None:
        self._file.touch()

    def close(self) -> None:
        self._file.unlink()

    async def reached(self) -> None:
        """Return when a model waits."""
        for _ in range(6_000):
            if self._reached.exists():
                self._reached.unlink()
                return
            await asyncio.sleep(0.005)
        raise AssertionError("no model came to the gate")


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


async def stopped(browser: Browser, graph: str, gate: Gate, *, pieces: int = 0, **fields: Any) -> str:
    """Return the path of a thread whose run was stopped after a model had emitted three words, ``pieces`` of them
    streamed.
    """
    thread = await browser.new_thread()
    body = {"assistant_id": graph, "input": gate.question, "stream_mode": ["messages-tuple"], **fields}
    async with browser.watching("POST", f"{thread}/runs/stream", body) as request:
        await gate.reached()
        if pieces:
            await request.saw("messages", pieces)
        run = (await browser.get(f"{thread}/runs"))[0]["run_id"]
        await browser.post(f"{thread}/runs/{run}/cancel?wait=1")
    assert (await browser.get(f"{thread}/runs/{run}"))["status"] == "interrupted"
    return thread


async def left(browser: Browser, thread: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the next nodes, and the messages after the question; they must agree in the thread's record and its
    state.
    """
    state = await browser.get(f"{thread}/state")
    record = await browser.get(thread)
    assert record["values"] == state["values"]
    assert record["status"] == "interrupted"
    (latest, *_) = await browser.get(f"{thread}/history")
    assert (latest["values"], latest["next"]) == (state["values"], state["next"])
    said = [(message["type"], message["content"]) for message in state["values"]["messages"][1:]]
    return state["next"], said


@pytest.mark.parametrize(
    ("graph", "node"), [("reply", "reply"), ("agent", "model"), ("approving_agent", "model"), ("delta", "reply")]
)
async def test_partial_answer_is_kept_and_its_node_runs_next(
    browser: Browser, gate: Gate, graph: str, node: str
) -> None:
    thread = await stopped(browser, graph, gate, pieces=3)
    assert await left(browser, thread) == ([node], [("ai", SO_FAR)])
    partial = (await browser.get(f"{thread}/state"))["values"]["messages"][-1]
    assert (
        partial["response_metadata"] | {"partial": True, "stop_reason": "user_interrupt"}
        == partial["response_metadata"]
    )
    # It has its own id, and is the same at every read.
    assert partial["id"] == (await browser.get(f"{thread}/state"))["values"]["messages"][-1]["id"]
    gate.open()
    more = (await browser.wait(thread, graph, {"messages": [{"role": "user", "content": "and?"}]}))["messages"]
    assert [message["content"] for message in more[1:]] == [SO_FAR, "and?", WHOLE]


@pytest.mark.parametrize(("graph", "node"), [("reply", "reply"), ("agent", "model"), ("delta", "reply")])
async def test_resumed_run_replaces_the_partial_answer(browser: Browser, gate: Gate, graph: str, node: str) -> None:
    thread = await stopped(browser, graph, gate, pieces=3)
    gate.open()
    messages = (await browser.wait(thread, graph, None))["messages"]
    assert [message["content"] for message in messages[1:]] == [WHOLE]
    state = await browser.get(f"{thread}/state")
    assert (state["next"], state["values"]["messages"]) == ([], messages)


@pytest.mark.parametrize(
    ("graph", "node"),
    [
        ("classifier", "classify"),
        ("commander", "route"),
        ("commander_unsaid", "route"),
        ("conditional", "classify"),
        ("two_models", "two"),
        ("lined_agent", "Lined.before_model"),
        ("added", "reply"),
        ("last", "reply"),
    ],
)
async def test_text_of_uncertain_origin_is_not_kept(browser: Browser, gate: Gate, graph: str, node: str) -> None:
    thread = await stopped(browser, graph, gate, pieces=3)
    assert await left(browser, thread) == ([node], [])


async def test_text_of_one_of_two_branches_is_not_kept(browser: Browser, gate: Gate) -> None:
    thread = await stopped(browser, "branches", gate, pieces=6)
    following, said = await left(browser, thread)
    assert (sorted(following), said) == (["label", "reply"], [])


@pytest.mark.parametrize(
    ("graph", "node", "said"),
    [("titled", "title", "said"), ("titled_agent", "Titled.after_agent", WHOLE)],
)
async def test_text_after_the_answer_is_not_kept(
    browser: Browser, gate: Gate, graph: str, node: str, said: str
) -> None:
    thread = await stopped(browser, graph, gate)
    assert await left(browser, thread) == ([node], [("ai", said)])


@pytest.mark.parametrize("graph", ["tool_agent", "subagent_agent", "chatbot"])
@pytest.mark.parametrize("subgraphs", [False, True])
async def test_text_of_a_model_inside_a_tool_is_not_kept(
    browser: Browser, gate: Gate, graph: str, subgraphs: bool
) -> None:
    thread = await stopped(browser, graph, gate, stream_subgraphs=subgraphs)
    assert await left(browser, thread) == (["tools"], [("ai", "")])
    gate.open()
    messages = (await browser.wait(thread, graph, None))["messages"]
    assert [message["type"] for message in messages] == ["human", "ai", "tool", "ai"]
    assert messages[-1]["content"] == WHOLE


async def test_answer_after_a_tool_is_kept(browser: Browser, gate: Gate) -> None:
    thread = await stopped(browser, "chatbot_after_tool", gate, pieces=3)
    following, said = await left(browser, thread)
    assert (following, [kind for kind, _ in said], said[-1][1]) == (["chatbot"], ["ai", "tool", "ai"], SO_FAR)


async def test_resumed_node_runs_completely(browser: Browser, gate: Gate) -> None:
    thread = await stopped(browser, "two_models", gate, pieces=5)
    gate.open()
    done = await browser.wait(thread, "two_models", None)
    assert (done["label"], done["path"]) == ("a plan ", ["two"])
    assert [message["content"] for message in done["messages"][1:]] == [WHOLE]


async def test_node_whose_text_was_not_the_answer_is_not_trusted_again(browser: Browser, gate: Gate) -> None:
    gate.open()
    await browser.wait(await browser.new_thread(), "aside", gate.question, stream_mode=["messages-tuple"])
    gate.close()
    thread = await stopped(browser, "aside", gate, pieces=3)
    assert await left(browser, thread) == (["aside"], [])


async def test_text_is_kept_without_a_call_that_was_cut_off(browser: Browser, gate: Gate) -> None:
    thread = await stopped(browser, "calling", gate, pieces=3)
    partial = (await browser.get(f"{thread}/state"))["values"]["messages"][-1]
    assert partial["content"] == [{"type": "text", "text": "let me see", "index": 0}]
    assert (partial["tool_calls"], partial["invalid_tool_calls"], partial["additional_kwargs"]) == ([], [], {})


async def test_rollback_keeps_nothing(browser: Browser, gate: Gate) -> None:
    thread = await browser.new_thread()
    run = await browser.create(thread, "reply", gate.question, stream_mode=["messages-tuple"])
    await gate.reached()
    await browser.post(f"{run}/cancel?wait=1&action=rollback")
    assert (await browser.get(f"{thread}/state"))["values"] == {}
