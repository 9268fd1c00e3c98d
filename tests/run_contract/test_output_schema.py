"""A graph with an output schema returns only its output channels; its state keeps all channels."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.faults.browser import Browser
from tests.processes.frames import Frame
from tests.webhooks.receiver import receiving

from .conftest import Served

MODES = ["values", "updates"]
KEPT = {"question": "q", "private": "secret q", "answer": "secret q"}


def shown(frames: list[Frame]) -> list[tuple[str, Any]]:
    return [(frame.event, frame.json) for frame in frames if frame.event != "metadata"]


async def test_output_has_output_channels_and_the_state_has_all(browser: Browser) -> None:
    thread = await browser.new_thread()
    assert await browser.wait(thread, "narrow", {"question": "q"}) == {"answer": "secret q"}
    assert (await browser.get(f"{thread}/state"))["values"] == (await browser.get(thread))["values"] == KEPT
    run = await browser.create(thread, "narrow", {"question": "r"})
    assert await browser.get(f"{run}/join") == await browser.get(f"{run}/join") == {"answer": "secret r"}
    assert await browser.wait("", "narrow", {"question": "s"}) == {"answer": "secret s"}


async def test_stream_has_output_channels(browser: Browser) -> None:
    frames = await browser.stream(await browser.new_thread(), "narrow", {"question": "q"}, stream_mode=MODES)
    assert shown(frames) == [
        ("updates", {"think": None}),
        ("updates", {"last": {"answer": "secret q"}}),
        ("values", {"answer": "secret q"}),
    ]
    with_events = [*MODES, "events"]
    frames = await browser.stream(await browser.new_thread(), "narrow", {"question": "q"}, stream_mode=with_events)
    assert [frame.json for frame in frames if frame.event == "values"] == [{"answer": "secret q"}]


async def test_stream_of_a_graph_that_asks_has_output_channels(browser: Browser) -> None:
    thread = await browser.new_thread()
    frames = await browser.stream(thread, "narrow", {"question": "ask"}, stream_mode=MODES)
    (asked,) = [frame.json for frame in frames if frame.event == "values"]
    assert set(asked) == {"__interrupt__"}
    (run,) = await browser.get(f"{thread}/runs")
    joined = await browser.get(f"{thread}/runs/{run['run_id']}/join")
    assert joined == asked
    assert await browser.wait(thread, "narrow", None, command={"resume": "yes"}) == {"answer": "yes"}


async def test_values_of_a_subgraph_with_an_output_schema_are_its_output(browser: Browser) -> None:
    assert await browser.wait(await browser.new_thread(), "narrow_above", {"question": "q"}) == {
        "question": "q",
        "answer": "secret q",
    }


@pytest.mark.parametrize(("graph", "values"), [("narrow", {"answer": "secret q"}), ("narrow_fails", {})])
async def test_webhook_has_output_channels(served: Served, graph: str, values: Any) -> None:
    async with receiving() as receiver, served(webhook_allow_loopback=True) as browser:
        await browser.wait("", graph, {"question": "q"}, webhook=receiver.url)
        (got,) = await receiver.count(1)
    assert json.loads(got.body)["values"] == values


async def test_late_reader_without_a_stream_gets_output_channels_and_interrupts(served: Served) -> None:
    """The server with the run's events has ended: they are read from the state."""
    async with served() as browser:
        answered, asking = await browser.new_thread(), await browser.new_thread()
        done = await browser.create(answered, "narrow", {"question": "q"})
        asked = await browser.create(asking, "narrow", {"question": "ask"})
        for run in (done, asked):
            await browser.ended(run)
    async with served() as browser:
        for run, values in ((done, {"answer"}), (asked, {"__interrupt__"})):
            assert set(await browser.get(f"{run}/join")) == values
            told = [frame.json for frame in await browser.replay(run, "-1") if frame.event == "values"]
            assert [set(one) for one in told] == [values]
