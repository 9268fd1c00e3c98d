"""From a run's log to the protocol, without a server: message deltas, tools, subgraphs, and the order of events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import AssistantId, RunId, RunRecord, RunSpec, RunStatus, StreamMode, ThreadId
from runstead.runtime.stream_bridge.contract import StreamEvent
from runstead.wire.errors import BadRequest
from runstead.wire.protocol.events import ProtocolEvent, Subscription, subscription_of
from runstead.wire.protocol.translator import RunTranslator

BEGAN = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
MODES: tuple[StreamMode, ...] = ("values", "updates", "messages-tuple", "custom", "tasks", "checkpoints")


def run(modes: tuple[StreamMode, ...] = MODES, began: datetime = BEGAN) -> RunRecord:
    return RunRecord(
        run_id=RunId("r"),
        thread_id=ThreadId("t"),
        assistant_id=AssistantId("a"),
        spec=RunSpec(AssistantId("a"), "graph", ThreadId("t"), stream_modes=modes),
        actor=ActorContext(user_id="u"),
        status=RunStatus.SUCCESS,
        created_at=began,
        updated_at=began,
        due_at=began,
        started_at=began,
        ended_at=began + timedelta(seconds=2),
    )


def translated(*log: tuple[str, Any], record: RunRecord | None = None) -> list[ProtocolEvent]:
    """Return the events of a log, up to its current end."""
    translator = RunTranslator(record or run())
    return [
        event
        for number, (name, data) in enumerate([("metadata", {}), *log], 1)
        for event in translator.translate(StreamEvent(f"1-{number}", name, json.dumps(data).encode()))
    ]


def said(events: Sequence[ProtocolEvent], method: str = "messages") -> list[Any]:
    return [event.data for event in events if event.method == method]


def chunk(content: Any = "", message_id: str = "m", **more: Any) -> tuple[str, Any]:
    return "messages", [{"type": "AIMessageChunk", "id": message_id, "content": content, **more}, {}]


def call(args: str, name: str | None = None, call_id: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"type": "tool_call_chunk", "name": name, "args": args, "id": call_id, "index": index}


def test_text_and_a_tool_call_are_blocks_of_one_message() -> None:
    events = said(
        translated(
            chunk("Let me "),
            chunk("look.", tool_call_chunks=[call("", "search", "c1")]),
            chunk(tool_call_chunks=[call('{"q":')]),
            chunk(tool_call_chunks=[call('"x"}')], usage_metadata={"input_tokens": 3, "output_tokens": 4}),
            chunk(chunk_position="last", response_metadata={"finish_reason": "tool_calls"}),
        )
    )
    assert events == [
        {"event": "message-start", "role": "ai", "id": "m"},
        {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}},
        {"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": "Let me "}},
        {"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": "look."}},
        {
            "event": "content-block-start",
            "index": 1,
            "content": {"type": "tool_call_chunk", "id": "c1", "name": "search", "args": "", "index": 0},
        },
        {"event": "content-block-delta", "index": 1, "delta": {"type": "tool-call-delta", "args": '{"q":'}},
        {"event": "content-block-delta", "index": 1, "delta": {"type": "tool-call-delta", "args": '"x"}'}},
        {"event": "content-block-finish", "index": 0, "content": {"type": "text", "text": "Let me look."}},
        {
            "event": "content-block-finish",
            "index": 1,
            "content": {"type": "tool_call", "id": "c1", "name": "search", "args": {"q": "x"}},
        },
        {
            "event": "message-finish",
            "usage": {"input_tokens": 3, "output_tokens": 4},
            "metadata": {"finish_reason": "tool_calls"},
        },
    ]


def test_arguments_that_are_no_json_make_an_invalid_call() -> None:
    events = said(translated(chunk(tool_call_chunks=[call('{"q":', "search", "c1")]), chunk(chunk_position="last")))
    finished = events[-2]["content"]
    assert (finished["type"], finished["args"], finished["name"]) == ("invalid_tool_call", '{"q":', "search")


def test_reasoning_comes_in_blocks_of_its_own() -> None:
    events = said(
        translated(
            chunk([{"type": "reasoning", "reasoning": "hm", "index": 0}]),
            chunk([{"type": "reasoning", "reasoning": "m", "index": 0}]),
            chunk([{"type": "text", "text": "yes", "index": 1}]),
            chunk([], chunk_position="last"),
        )
    )
    assert [event["delta"] for event in events if "delta" in event] == [
        {"type": "reasoning-delta", "reasoning": "hm"},
        {"type": "reasoning-delta", "reasoning": "m"},
        {"type": "text-delta", "text": "yes"},
    ]
    assert [event["content"] for event in events if event["event"] == "content-block-finish"] == [
        {"type": "reasoning", "reasoning": "hmm"},
        {"type": "text", "text": "yes"},
    ]


def test_bytes_of_media_come_as_deltas_and_again_at_the_end() -> None:
    picture = {"type": "image", "mime_type": "image/png", "index": 0}
    events = said(
        translated(
            chunk([{**picture, "base64": "AAEC"}]),
            chunk([{**picture, "base64": "AwQF"}]),
            chunk([{"type": "file", "url": "https://example.org/a.pdf", "index": 1}], chunk_position="last"),
        )
    )
    assert [event["delta"]["data"] for event in events if "delta" in event] == ["AAEC", "AwQF"]
    started = [event["content"] for event in events if event["event"] == "content-block-start"]
    assert not any("base64" in block for block in started)
    finished = [event["content"] for event in events if event["event"] == "content-block-finish"]
    assert [block.get("base64") for block in finished] == ["AAECAwQF", None]


def test_interleaved_messages_are_separated() -> None:
    events = said(translated(chunk("a", "one"), chunk("b", "two"), chunk("c", "one")))
    assert [(event["event"], event.get("message_id")) for event in events[3:]] == [
        ("message-start", None),
        ("content-block-start", "two"),
        ("content-block-delta", "two"),
        ("content-block-delta", "one"),
    ]


def test_usage_of_parts_adds_up() -> None:
    parts = [{"input_tokens": 1, "details": {"cached": 2}}, {"input_tokens": 4, "details": {"cached": 8}}]
    events = said(translated(*(chunk(usage_metadata=part) for part in parts), chunk(chunk_position="last")))
    assert events[-1]["usage"] == {"input_tokens": 5, "details": {"cached": 10}}


def test_message_whose_last_chunk_never_comes_ends_with_its_step() -> None:
    events = said(translated(chunk("half"), ("updates", {"model": {}})))
    assert [event["event"] for event in events][-2:] == ["content-block-finish", "message-finish"]


def test_message_cut_off_by_another_attempt_is_dropped() -> None:
    translator = RunTranslator(run())
    log = [("1-1", "metadata", {}), ("1-2", *chunk("half")), ("2-1", "metadata", {}), ("2-2", *chunk("whole", "n"))]
    events = [
        event
        for log_id, name, data in log
        for event in translator.translate(StreamEvent(log_id, name, json.dumps(data).encode()))
    ]
    assert [event["event"] for event in said(events)] == [
        "message-start", "content-block-start", "content-block-delta", "error",
        "message-start", "content-block-start", "content-block-delta",
    ]  # fmt: skip
    assert [event.data["event"] for event in events if event.method == "lifecycle"] == ["running"]
    assert [event.seq for event in events] == sorted({event.seq for event in events})


def test_failed_tool_is_reported() -> None:
    asked = {"type": "ai", "id": "m", "content": "", "tool_calls": [{"name": "f", "args": {"a": 1}, "id": "c"}]}
    failed = {"type": "tool", "id": "n", "content": "no", "tool_call_id": "c", "status": "error", "name": "f"}
    task = {"id": "x", "name": "act", "input": {"messages": [asked]}, "triggers": []}
    events = said(translated(("tasks", task), ("messages", [failed, {}])), "tools")
    # A node not named "tools" may be anything: its calls are reported when they have ended.
    assert events == [
        {"event": "tool-started", "tool_call_id": "c", "tool_name": "f", "input": {"a": 1}},
        {"event": "tool-error", "tool_call_id": "c", "message": "no"},
    ]


def test_agent_inside_a_tool_names_its_tool_call() -> None:
    dispatched = {"tool_call": {"name": "task", "args": {}, "id": "c9"}, "state": {}}
    outer = {"id": "t1", "name": "tools", "input": dispatched, "triggers": []}
    inner = {"id": "t2", "name": "model", "input": {}, "triggers": [], "metadata": {"lc_agent_name": "researcher"}}
    events = translated(("tasks", outer), ("tasks|tools:t1", inner))
    (started,) = [event for event in events if event.method == "lifecycle" and event.namespace]
    assert started.data == {
        "event": "started",
        "namespace": ["tools:t1"],
        "graph_name": "researcher",
        "trigger_call_id": "t1",
        "cause": {"type": "toolCall", "tool_call_id": "c9"},
    }


def test_custom_event_with_a_name_has_a_channel_of_its_own() -> None:
    events = [
        event
        for event in translated(
            ("custom", {"name": "progress", "done": 1}),
            ("custom", {"name": "chart", "payload": [1]}),
            ("custom", "plain"),
        )
        if event.method == "custom"
    ]
    assert [(event.channel, event.data) for event in events] == [
        ("custom:progress", {"name": "progress", "payload": {"done": 1}}),
        ("custom:chart", {"name": "chart", "payload": [1]}),
        ("custom", {"payload": "plain"}),
    ]
    shown = [[wanted.matches(event) for event in events] for wanted in map(channels, (["custom"], ["custom:chart"]))]
    assert shown == [[True, True, True], [False, True, False]]


def channels(names: list[str]) -> Subscription:
    return subscription_of({"channels": names})


def test_values_wait_only_for_their_checkpoint() -> None:
    held = translated(("values", {"a": 1}))
    assert [event.method for event in held] == ["lifecycle"]
    freed = translated(("values", {"a": 1}), ("custom", 1))
    assert [event.method for event in freed] == ["lifecycle", "values", "custom"]
    without = translated(("values", {"a": 1}), record=run(("values",)))
    assert [event.method for event in without] == ["lifecycle", "values"]


def test_numbers_increase_over_runs_independent_of_kept_events() -> None:
    first, second = run(), run(began=BEGAN + timedelta(seconds=2, milliseconds=1))
    events = translated(*[("custom", number) for number in range(500)], record=first)
    translator = RunTranslator(first)
    *_, end = translator.end(first, "end")
    later = translated(("custom", 1), record=second)
    assert events[-1].seq < end.seq < later[0].seq < 2**53
    alone = RunTranslator(first)
    (again,) = [event for event in alone.translate(StreamEvent("1-400", "custom", b"1")) if event.method == "custom"]
    assert (again.seq, again.event_id) == (events[399].seq, events[399].event_id)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"channels": "values"},
        {"channels": ["custom:"]},
        {"channels": [1]},
        {"channels": ["values"], "namespaces": ["child"]},
        {"channels": ["values"], "namespaces": [[1]]},
        {"channels": ["values"], "depth": -1},
        {"channels": ["values"], "since": "3"},
        {"channels": ["values"], "since": True},
    ],
)
def test_invalid_subscription_is_refused(params: Any) -> None:
    with pytest.raises(BadRequest):
        subscription_of(params)
