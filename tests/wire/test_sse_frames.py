"""Frames equal the recorded ones byte for byte."""

from __future__ import annotations

from runstead.runtime.stream_bridge.contract import CANCELLED_SENTINEL, END_SENTINEL, HEARTBEAT_SENTINEL, StreamEvent
from runstead.wire.sse_frames import frames

METADATA = StreamEvent("1-1", "metadata", b'{"run_id":"r","attempt":1}')
VALUES = StreamEvent("1-2", "values|child:f166", b'{"a":1}')


def test_frame_is_event_data_and_empty_line() -> None:
    assert frames([METADATA], with_ids=False) == b'event: metadata\r\ndata: {"run_id":"r","attempt":1}\r\n\r\n'


def test_id_comes_last_and_only_when_asked_for() -> None:
    assert frames([VALUES], with_ids=True) == b'event: values|child:f166\r\ndata: {"a":1}\r\nid: 1-2\r\n\r\n'


def test_batch_is_encoded_in_one_chunk() -> None:
    both = frames([METADATA, VALUES], with_ids=True)
    assert both == frames([METADATA], with_ids=True) + frames([VALUES], with_ids=True)


def test_heartbeat_is_a_comment() -> None:
    assert frames([HEARTBEAT_SENTINEL], with_ids=True) == b": heartbeat\r\n\r\n"


def test_end_and_cancel_produce_no_frame() -> None:
    end = StreamEvent("1-3", "end", b'{"status":"success"}', "end")
    cancel = StreamEvent("1-3", "cancel", b"null", "cancel")
    assert frames([end, END_SENTINEL], with_ids=True) == b""
    assert frames([cancel, CANCELLED_SENTINEL], with_ids=True) == b""


def test_error_produces_an_error_frame() -> None:
    error = StreamEvent("1-3", "error", b'{"error":"ValueError","message":"boom"}', "error")
    shown = frames([error, END_SENTINEL], with_ids=False)
    assert shown == b'event: error\r\ndata: {"error":"ValueError","message":"boom"}\r\n\r\n'


def test_transient_event_keeps_the_last_event_id() -> None:
    gap = StreamEvent("", "gap", b'{"missed":3}')
    assert frames([gap], with_ids=True) == b'event: gap\r\ndata: {"missed":3}\r\n\r\n'


def test_node_s_name_cannot_forge_a_frame() -> None:
    hostile = StreamEvent("1-1", "values|x\r\n\r\nevent: error\ndata: {}:1", b"1")
    shown = frames([hostile], with_ids=False)
    assert shown.count(b"\r\n") == 3
    assert b"\nevent: error" not in shown
