"""States, and the forms in which clients name a checkpoint."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from runstead.resources.state_views import TaskState, ThreadState
from runstead.wire.errors import Unprocessable
from runstead.wire.states import before_of, from_thread_state

from .records import CHECKPOINT, THREAD


@pytest.mark.parametrize(
    "form",
    [
        CHECKPOINT,
        {"checkpoint_id": CHECKPOINT, "thread_id": THREAD, "checkpoint_ns": ""},
        {"configurable": {"checkpoint_id": CHECKPOINT}},
    ],
)
def test_before_comes_in_three_forms(form: Any) -> None:
    assert before_of(form) == CHECKPOINT


@pytest.mark.parametrize("form", ["x", "", {}, {"configurable": {}}, {"configurable": 3}, {"checkpoint_id": 3}])
def test_invalid_before_is_refused(form: Any) -> None:
    with pytest.raises(Unprocessable, match=r"^before: "):
        before_of(form)


def test_missing_before_is_none() -> None:
    assert before_of(None) is None


def test_thread_without_runs_has_an_empty_state() -> None:
    assert orjson.loads(orjson.dumps(from_thread_state(ThreadState()))) == {
        "values": {},
        "next": [],
        "tasks": [],
        "metadata": None,
        "created_at": None,
        "checkpoint": None,
        "parent_checkpoint": None,
        "interrupts": [],
        "checkpoint_id": None,
        "parent_checkpoint_id": None,
    }


def test_task_with_a_subgraph_shows_the_state_below() -> None:
    below = ThreadState(values=b'{"x":1}', checkpoint={"checkpoint_id": CHECKPOINT})
    task = TaskState("t1", "child", b'["__pregel_pull","child"]', None, b'[{"id":"i","value":1}]', None, below, None)
    shown = orjson.loads(orjson.dumps(from_thread_state(ThreadState(next=("child",), tasks=(task,)))))
    assert shown["tasks"][0]["state"]["values"] == {"x": 1}
    assert shown["tasks"][0]["state"]["checkpoint_id"] == CHECKPOINT
    assert shown["tasks"][0]["interrupts"] == [{"id": "i", "value": 1}]
