"""The event protocol through langgraph_sdk's synchronous client: the streams of threads."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from langgraph_sdk import get_sync_client

from .test_thread_streams import HI, SIDE_BY_SIDE, Transport, transport

__all__ = ["transport"]


@pytest.fixture
def threads(url: str) -> Any:
    return get_sync_client(url=url, api_key=None).threads


def come_true(look: Callable[[], bool]) -> None:
    patience = time.monotonic() + 20
    while not look():
        assert time.monotonic() < patience, "never came true"
        time.sleep(0.01)


def test_output_of_a_run(threads: Any, transport: Transport) -> None:
    with threads.stream(assistant_id="agent", transport=transport) as thread:
        thread.run.start(input=HI)
        said = [str(message.text) for message in thread.messages]
        output = thread.output
    assert said == ["echo: hi there"]
    assert output["messages"][-1]["content"] == "echo: hi there"


def test_values_are_snapshots(threads: Any, transport: Transport) -> None:
    with threads.stream(assistant_id="fanout", transport=transport) as thread:
        thread.run.start(input={})
        seen = [values.get("log") for values in thread.values]
        assert thread.values.get()["log"] == ["plan", "work 0", "work 1", "work 2"]
    # The first is the client's read of the state.
    assert seen[-1] == ["plan", "work 0", "work 1", "work 2"]


def test_all_events(threads: Any, transport: Transport) -> None:
    with threads.stream(assistant_id="nested", transport=transport) as thread:
        thread.run.start(input=HI)
        methods = [event["method"] for event in thread.events]
    assert (methods[0], methods[-1]) == ("lifecycle", "lifecycle")
    assert {"values", "updates", "messages", "checkpoints", "tasks", "custom"} <= set(methods)


def test_events_of_some_channels_and_namespaces(threads: Any, transport: Transport) -> None:
    with threads.stream(assistant_id="nested", transport=transport) as thread:
        thread.run.start(input=HI)
        events = list(thread.subscribe(["custom"], namespaces=[["child"]]))
    assert [event["params"]["data"] for event in events] == [{"payload": {"progress": "child"}}]


def test_tool_calls_have_inputs_and_outputs(threads: Any, transport: Transport) -> None:
    with threads.stream(assistant_id="tools", transport=transport) as thread:
        thread.run.start(input=HI)
        (call,) = thread.tool_calls
    assert (call.name, call.input, call.output["content"]) == ("add", {"a": 2, "b": 3}, "5")


def test_subgraphs_are_found_and_then_read(threads: Any, transport: Transport) -> None:
    with threads.stream(assistant_id="nested", transport=transport) as thread:
        thread.run.start(input=HI)
        # In sequence: this client consumes the events of a subgraph while it looks for the next one.
        (child,) = list(thread.subgraphs)
        said = [str(message.text) for message in list(child.messages)]
    assert (child.graph_name, child.status, said) == ("child", "completed", ["from child"])


def test_subagents_are_subgraphs_by_another_name(threads: Any, transport: Transport) -> None:
    with threads.stream(assistant_id="nested", transport=transport) as thread:
        thread.run.start(input=HI)
        children = list(thread.subagents)
    assert [(child.graph_name, child.status, child.error) for child in children] == [("child", "completed", None)]


@pytest.mark.parametrize(("name", "payloads"), [("progress", [{"percent": 50}, {"percent": 100}]), ("another", [1])])
def test_custom_data_by_its_name(crew: str, transport: Transport, name: str, payloads: list[Any]) -> None:
    threads = get_sync_client(url=crew, api_key=None).threads
    with threads.stream(assistant_id="announcing", transport=transport) as thread:
        thread.run.start(input=HI)
        assert [data["payload"] for data in thread.extensions[name]] == payloads


def test_projections_side_by_side(threads: Any, transport: Transport) -> None:
    with threads.stream(assistant_id="tools", transport=transport) as thread:
        thread.run.start(input=HI)
        told = [name for name, _ in thread.interleave_projections(list(SIDE_BY_SIDE))]
    assert dict(Counter(told)) == SIDE_BY_SIDE


def test_interrupt_is_answered(threads: Any, transport: Transport) -> None:
    with threads.stream(assistant_id="nested_hitl", transport=transport) as thread:
        thread.run.start(input=HI)
        come_true(lambda: bool(thread.interrupted))
        (asked,) = thread.interrupts
        assert asked["value"] == {"question": "approve?"}
        thread.run.respond("yes", interrupt_id=asked["interrupt_id"])
        assert thread.output["answer"] == "yes"
        assert not thread.interrupted


def test_failed_run_reports_its_error(threads: Any, transport: Transport) -> None:
    with threads.stream(assistant_id="fail", transport=transport) as thread:
        thread.run.start(input=HI)
        with pytest.raises(RuntimeError, match="boom"):
            _ = thread.output


def test_stream_attributes_and_graph_tree(threads: Any) -> None:
    thread_id = str(uuid4())
    with threads.stream(thread_id, assistant_id="nested") as thread:
        assert (thread.thread_id, thread.assistant_id) == (thread_id, "nested")
        assert (thread.interrupted, thread.interrupts) == (False, [])
        nodes = thread.agent.get_tree(xray=True)["nodes"]
        assert "child:child_model" in [node["id"] for node in nodes]


def test_closed_stream_yields_nothing(threads: Any, transport: Transport) -> None:
    with threads.stream(assistant_id="slow", transport=transport) as thread:
        thread.run.start(input={"steps": 3, "delay": 0.05})
        thread.close()
        with pytest.raises(RuntimeError, match="closed"):
            _ = thread.output
