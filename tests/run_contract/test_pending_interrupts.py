"""A run's output names every pending interrupt, in whatever order the branches of its graph end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.browser import Browser
from tests.processes.frames import Frame


def questions(values: Any) -> list[Any]:
    return sorted(interrupt["value"] for interrupt in values.get("__interrupt__", ()))


def last_values(frames: list[Frame]) -> Any:
    return [frame.json for frame in frames if frame.event == "values"][-1]


@pytest.mark.parametrize("graph", ["beside", "beside_below"])
async def test_question_is_in_the_output_when_another_branch_ends_after_it(browser: Browser, graph: str) -> None:
    thread = await browser.new_thread()
    waited = await browser.wait(thread, graph, {})
    assert (questions(waited), waited["log"]) == (["now?"], ["slow"])
    thread = await browser.new_thread()
    run = await browser.create(thread, graph, {})
    joined = await browser.get(f"{run}/join")
    assert questions(joined) == questions(await browser.get(f"{run}/join")) == ["now?"]
    frames = await browser.stream(await browser.new_thread(), graph, {}, stream_mode=["values", "updates"])
    assert questions(last_values(frames)) == ["now?"]


async def test_questions_of_two_branches_are_in_the_output_and_in_the_last_values(browser: Browser) -> None:
    thread = await browser.new_thread()
    frames = await browser.stream(thread, "pair", {})
    assert questions(last_values(frames)) == ["a 1", "b 1"]
    assert sum(frame.event == "values" for frame in frames) <= 3


async def test_output_names_the_next_question_of_one_branch_and_the_old_one_of_the_other(browser: Browser) -> None:
    thread = await browser.new_thread()
    asked = (await browser.wait(thread, "pair", {}))["__interrupt__"]
    ids = {interrupt["value"]: interrupt["id"] for interrupt in asked}
    frames = await browser.stream(thread, "pair", None, command={"resume": {ids["a 1"]: "A"}})
    assert questions(last_values(frames)) == ["a 2", "b 1"]
    (run, *_) = await browser.get(f"{thread}/runs")
    assert questions(await browser.get(f"{thread}/runs/{run['run_id']}/join")) == ["a 2", "b 1"]
    ids = {interrupt["value"]: interrupt["id"] for interrupt in last_values(frames)["__interrupt__"]}
    # One branch has ended; its answered interrupts do not reappear.
    waited = await browser.wait(thread, "pair", None, command={"resume": {ids["a 2"]: "B"}})
    assert questions(waited) == ["b 1"]
    state = await browser.get(f"{thread}/state")
    assert [interrupt["value"] for interrupt in state["interrupts"]] == ["b 1"]
    record = await browser.get(thread)
    assert [interrupt["value"] for pending in record["interrupts"].values() for interrupt in pending] == ["b 1"]


async def test_output_of_a_finished_run_has_no_interrupts(browser: Browser) -> None:
    thread = await browser.new_thread()
    await browser.wait(thread, "ask", {})
    assert await browser.wait(thread, "ask", None, command={"resume": "yes"}) == {"log": [], "seen": ["yes"]}
    (last, _) = await browser.get(f"{thread}/runs")
    assert "__interrupt__" not in await browser.get(f"{thread}/runs/{last['run_id']}/join")


@pytest.mark.parametrize("subgraphs", [False, True])
async def test_questions_of_subgraphs_are_keyed_by_the_tasks_of_the_root(browser: Browser, subgraphs: bool) -> None:
    thread = await browser.new_thread()
    await browser.stream(thread, "ask_below", {}, stream_subgraphs=subgraphs, stream_mode=["values", "checkpoints"])
    state = await browser.get(f"{thread}/state")
    (task,) = state["tasks"]
    record = await browser.get(thread)
    assert {key: questions({"__interrupt__": found}) for key, found in record["interrupts"].items()} == {
        task["id"]: ["one?"]
    }
