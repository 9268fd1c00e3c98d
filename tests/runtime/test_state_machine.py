"""Readers change their state as their tables say, and an object refuses any other transition."""

from __future__ import annotations

import pytest

from runstead.gateway.streams import thread_stream
from runstead.infra.stream_bridge.memory import log_reader
from runstead.infra.stream_bridge.redis import subscription
from runstead.runtime.state_machine import StateMachine


def test_transition_that_the_table_does_not_contain_is_refused() -> None:
    machine = StateMachine("open", {"open": frozenset({"closed"}), "closed": frozenset[str]()})
    machine.enter("closed")
    with pytest.raises(RuntimeError, match="no transition from closed to open"):
        machine.enter("open")
    assert machine.state == "closed"


@pytest.mark.parametrize(
    ("states", "transitions"),
    [
        (log_reader.ReaderState, log_reader.TRANSITIONS),
        (subscription.ReaderState, subscription.TRANSITIONS),
        (thread_stream.ThreadStreamState, thread_stream.TRANSITIONS),
    ],
)
def test_tables_contain_every_state(states: type, transitions: dict[object, frozenset[object]]) -> None:
    assert list(transitions) == list(states)  # type: ignore[call-overload]
