"""A stream is reduced to the parts worth showing, for any modes and over disconnects, without repetition."""

from __future__ import annotations

from typing import Any

from runstead.cli.transcript import Begun, Calling, Failed, Gap, Interrupt, Item, Noted, Returned, Said, Transcript

USAGE = {"input_tokens": 3, "output_tokens": 2}


def chunk(text: Any, message_id: str = "m", **more: Any) -> tuple[str, Any]:
    return "messages", [
        {"type": "AIMessageChunk", "id": message_id, "content": text, **more},
        {"langgraph_node": "model"},
    ]


def ai(text: str, message_id: str = "m", **more: Any) -> dict[str, Any]:
    return {"type": "ai", "id": message_id, "content": text, **more}


def items_of(transcript: Transcript, *events: tuple[str, Any]) -> list[Item]:
    return [item for event, data in events for item in transcript.feed(event, data)]


def test_streamed_tokens_are_shown_once() -> None:
    transcript = Transcript()
    items = items_of(
        transcript,
        ("metadata", {"run_id": "r", "attempt": 1}),
        chunk("Hel"),
        chunk("lo"),
        chunk("", usage_metadata=USAGE),
        ("updates", {"model": {"messages": [ai("Hello", usage_metadata=USAGE)]}}),
        ("values", {"messages": [ai("Hello", usage_metadata=USAGE)]}),
    )
    assert items == [Begun("r", 1), Said("m", "Hel"), Said("m", "lo")]
    assert (transcript.usage.input_tokens, transcript.usage.output_tokens, transcript.usage.calls) == (3, 2, 1)
    assert transcript.is_whole("m")


def test_streamed_tool_call_and_its_result_are_shown_once() -> None:
    result = {"type": "tool", "id": "t", "name": "add", "content": "5"}
    items = items_of(
        Transcript(),
        chunk("", tool_call_chunks=[{"name": "add", "args": "", "id": "c", "index": 0}]),
        chunk("", tool_call_chunks=[{"name": None, "args": '{"a": 2}', "id": None, "index": 0}]),
        ("updates", {"model": {"messages": [ai("", tool_calls=[{"name": "add", "args": {"a": 2}}])]}}),
        ("messages", [result, {}]),
        ("updates", {"tools": {"messages": [result]}}),
    )
    assert items == [Calling("m", "add", ""), Calling("m", None, '{"a": 2}'), Returned("add", "5", False)]


def test_unstreamed_messages_are_shown_whole() -> None:
    items = items_of(
        Transcript(),
        ("updates", {"model": {"messages": [ai("Hi", tool_calls=[{"name": "add", "args": {"a": 2}}])]}}),
        ("updates", {"other": {"messages": ai("single", "n")}}),
        ("updates", {"raw": {"messages": [["ai", "as written"]]}}),
    )
    assert items[:3] == [Said("m", "Hi"), Calling("m", "add", '{"a": 2}'), Said("n", "single")]
    assert [item.text for item in items[3:] if isinstance(item, Said)] == ["as written"]


def test_cumulative_messages_add_only_new_text() -> None:
    items = items_of(
        Transcript(),
        ("messages/metadata", {"m": {"metadata": {}}}),
        ("messages/partial", [ai("He")]),
        ("messages/partial", [ai("Hello")]),
        ("messages/complete", [ai("Hello")]),
    )
    assert items == [Said("m", "He"), Said("m", "llo")]


def test_first_values_are_history_and_later_ones_are_new() -> None:
    human = {"type": "human", "id": "h", "content": "question"}
    items = items_of(
        Transcript(),
        ("values", {"messages": [ai("long ago", "old"), human]}),
        ("values", {"messages": [ai("long ago", "old"), human, ai("new")]}),
    )
    assert items == [Said("m", "new")]


def test_state_after_a_gap_fills_missed_messages() -> None:
    transcript = Transcript()
    items = items_of(
        transcript,
        chunk("seen", "one", usage_metadata=USAGE),
        chunk("cut o", "two"),
        ("gap", {"from": "1-9", "to": None, "missed": None}),
        ("values", {"messages": [ai("seen", "one", usage_metadata=USAGE), ai("missed", "three")]}),
        ("metadata", {"run_id": "r", "attempt": 2}),
        chunk("cut off, anew", "four", usage_metadata=USAGE),
    )
    assert items[2:] == [Gap(None), Said("three", "missed"), Begun("r", 2), Said("four", "cut off, anew")]
    assert [transcript.is_whole(name) for name in ("one", "two", "four")] == [True, False, True]
    assert transcript.usage.calls == 2


def test_interrupt_reported_by_two_modes_is_shown_once() -> None:
    asked = [{"id": "i", "value": {"q": "?"}, "response_schema": None}]
    transcript = Transcript()
    items = items_of(
        transcript, ("updates", {"__interrupt__": asked}), ("values", {"messages": [], "__interrupt__": asked})
    )
    assert items == [Interrupt("i", {"q": "?"})] == transcript.interrupts


def test_another_run_of_the_thread_does_not_repeat_old_messages() -> None:
    first = Transcript()
    items_of(first, chunk("Hello", usage_metadata=USAGE))
    second = first.next_run()
    assert items_of(second, ("updates", {"approval": {"messages": [ai("Hello", usage_metadata=USAGE)]}})) == []
    assert second.usage.calls == 0
    assert second.interrupts == []


def test_errors_custom_events_and_other_updates_are_shown() -> None:
    transcript = Transcript()
    items = items_of(
        transcript,
        ("custom|child:1", {"progress": 3}),
        ("updates", {"count": {"n": 1}, "quiet": None}),
        ("error", {"error": "ValueError", "message": "boom"}),
    )
    assert items == [Noted("custom", {"progress": 3}), Noted("count", {"n": 1}), Failed("ValueError", "boom")]
    assert transcript.failure == Failed("ValueError", "boom")


def test_unknown_frames_are_ignored() -> None:
    strange: list[tuple[str, Any]] = [("debug", {}), ("tasks", []), ("messages", []), ("messages", None)]
    strange += [("values", 3), ("updates", "x")]
    assert items_of(Transcript(), *strange) == []
    assert items_of(Transcript(), chunk([{"type": "text", "text": "in blocks"}, {"type": "image"}])) == [
        Said("m", "in blocks")
    ]
