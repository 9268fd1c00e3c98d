"""Values survive in checkpoints as what they were; where one cannot, the error names its path and the setting."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import Send
from pydantic import BaseModel

from runstead.infra.checkpoints.serde import CheckpointSerializer, ValueNotKept


@dataclass
class Box:
    inside: Any


class Form(BaseModel):
    inside: Any = None


UNSAID = "unsaid"
NUMPY: list[Any] = [
    np.float64(0.5),
    np.float32(0.1),
    np.int64(7),
    np.bool_(True),
    np.complex128(1 + 2j),
    np.datetime64("2026-01-02T03:04:05"),
    np.timedelta64(5, "s"),
    np.array([[1.0, 2.0], [3.0, 4.0]]),
    np.array([[1, 2], [3, 4]]).T,
    np.array(["a", None, 3], dtype=object),
    np.array(["2026-01-02"], dtype="M8[ns]"),
    np.array(5),
]
PANDAS: list[Any] = [
    pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [0.5, None]}),
    pd.DataFrame({"t": pd.to_datetime(["2026-01-02"]).tz_localize("Europe/Berlin")}, index=["first"]),
    pd.DataFrame({1: [np.float32(1)]}, dtype="float32"),
    pd.DataFrame(),
    pd.Series([1, None], dtype="Int64", name="n"),
    pd.Series(["a", "b", "a"], dtype="category"),
    pd.Index(["a", "b"], name="i"),
    pd.RangeIndex(2, 10, 2),
    pd.Timestamp("2026-01-02T03:04:05", tz="Europe/Berlin"),
    pd.Timestamp("2026-01-02"),
    pd.Timedelta(seconds=90),
]


def same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    match one:
        case np.ndarray():
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
        case pd.DataFrame():
            pd.testing.assert_frame_equal(one, other)
        case pd.Series():
            pd.testing.assert_series_equal(one, other)
        case pd.Index():
            pd.testing.assert_index_equal(one, other)
        case _:
            assert one == other


@pytest.mark.parametrize("value", [1 + 2j, *NUMPY, *PANDAS], ids=repr)
@pytest.mark.parametrize("allowed", [UNSAID, True, None, [("elsewhere", "Mine")]], ids=str)
def test_a_value_comes_back_as_it_was_wherever_it_was(value: Any, allowed: Any) -> None:
    serde = CheckpointSerializer(**({} if allowed == UNSAID else {"allowed_msgpack_modules": allowed}))

    def kept(whole: Any) -> Any:
        return serde.loads_typed(serde.dumps_typed(whole))

    same(kept(value), value)
    same(kept({"scores": [{"deep": value}]})["scores"][0]["deep"], value)
    same(kept(deque([value]))[0], value)
    same(kept(Send("node", {"x": value})).arg["x"], value)
    same(kept(ToolMessage("done", tool_call_id="1", artifact=value)).artifact, value)
    if allowed in (UNSAID, True):
        same(kept(Box(value)).inside, value)
        same(kept(Form(inside=value)).inside, value)


def test_missing_values_are_the_only_ones_of_their_kind() -> None:
    serde = CheckpointSerializer()
    assert serde.loads_typed(serde.dumps_typed(pd.NaT)) is pd.NaT
    assert serde.loads_typed(serde.dumps_typed(pd.NA)) is pd.NA


def test_an_array_that_comes_back_can_be_written_to() -> None:
    serde = CheckpointSerializer()
    array = serde.loads_typed(serde.dumps_typed({"a": np.array([1.0])}))["a"]
    array += 1
    assert array.tolist() == [2.0]


def test_what_langgraph_keeps_is_written_as_langgraph_writes_it() -> None:
    ours, plain = CheckpointSerializer(), CheckpointSerializer.__mro__[1]()
    for value in ({"a": [1, "x", None]}, AIMessage("hi", id="1"), Box(1), Form(inside=2), {3}, Send("n", 1)):
        assert ours.dumps_typed(value) == plain.dumps_typed(value)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"lock": threading.Lock()}, "lock"),
        ({"channel_versions": {}, "channel_values": {"scores": [1, {"lock": threading.Lock()}]}}, "scores[1].lock"),
        ({"box": Box({"lock": threading.Lock()})}, "box.inside.lock"),
        ({"message": AIMessage("x", additional_kwargs={"lock": threading.Lock()})}, "message.additional_kwargs.lock"),
    ],
    ids=["plain", "checkpoint", "dataclass", "message"],
)
@pytest.mark.parametrize("pickles", [False, True])
def test_a_value_that_cannot_be_kept_is_named_with_its_path_and_the_setting(
    value: Any, path: str, pickles: bool
) -> None:
    with pytest.raises(ValueNotKept) as refused:
        CheckpointSerializer(pickle_fallback=pickles).dumps_typed(value)
    said = str(refused.value)
    assert said.startswith(f"{path}: a value of type _thread.lock cannot be kept in a checkpoint; ")
    assert '{"checkpointer": {"serde": {"pickle_fallback": true}}}' in said
