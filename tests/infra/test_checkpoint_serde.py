"""Values survive in checkpoints unchanged; if one cannot, the error names its path and the setting."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import Interrupt, Send
from pydantic import BaseModel

from runstead.infra.checkpoints.serde import CheckpointSerializer
from runstead.infra.checkpoints.unkept_values import UnstorableValue
from runstead.runtime.serialization import encode


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
    np.bytes_(b"x"),
    np.ma.masked_array([1, 2], [False, True]),
    np.ma.masked_array([[0.5, 2.0]]),
    np.array([(1, 0.5)], dtype=[("a", "i4"), ("b", [("c", "f8")])]),
    np.array([(1, 0.5)], dtype=[("a", "i4"), ("b", "f8")])[0],
    np.rec.array([(1, 0.5)], dtype=[("a", "i4"), ("b", "f8")]),
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
    pd.Period("2026-01"),
    pd.period_range("2026-01", periods=2, freq="M"),
    pd.Interval(0, 1, closed="both"),
    pd.interval_range(0, 2),
    pd.Categorical(["b", "a"], categories=["b", "a", "c"], ordered=True),
    pd.Series(["b", "a"], dtype=pd.CategoricalDtype(["b", "a", "c"], ordered=True)),
    pd.array([1, None], dtype="Int64"),
    pd.MultiIndex.from_tuples([(1, "x"), (2, "y")], names=["n", None]),
    pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")])),
    pd.DataFrame([[1, 2]], columns=["a", "a"]),
]


def same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    match one:
        case np.ma.MaskedArray():
            assert (one.tolist(), one.dtype, one.fill_value) == (other.tolist(), other.dtype, other.fill_value)
        case np.ndarray():
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
        case pd.DataFrame():
            pd.testing.assert_frame_equal(one, other)
        case pd.Series():
            pd.testing.assert_series_equal(one, other)
        case pd.Index():
            pd.testing.assert_index_equal(one, other)
        case pd.api.extensions.ExtensionArray():
            pd.testing.assert_extension_array_equal(one, other)
        case _:
            assert one == other


@pytest.mark.parametrize("value", [1 + 2j, *NUMPY, *PANDAS], ids=repr)
@pytest.mark.parametrize("allowed", [UNSAID, True, None, [("elsewhere", "Mine")]], ids=str)
def test_value_round_trips_at_any_position(value: Any, allowed: Any) -> None:
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


class Refused(Exception):
    """An exception of an agent's author."""


@pytest.mark.parametrize(
    "value",
    [
        ValueError("boom"),
        KeyError("x"),
        Refused("no"),
        ExceptionGroup("two", [ValueError("one")]),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "odd"),
        np.ma.masked,
        *NUMPY,
        *PANDAS,
    ],
    ids=repr,
)
def test_stored_value_is_encoded_as_before(value: Any) -> None:
    serde = CheckpointSerializer()
    for whole in (value, Interrupt(value={"deep": [value]}, id="i")):
        assert encode(serde.loads_typed(serde.dumps_typed(whole))) == encode(whole)


def test_exception_is_restored_with_its_name_and_base_class() -> None:
    serde = CheckpointSerializer()
    found = serde.loads_typed(serde.dumps_typed({"found": KeyError("x")}))["found"]
    assert (type(found).__name__, str(found), isinstance(found, LookupError)) == ("KeyError", "'x'", True)


def test_missing_value_singletons_stay_singletons() -> None:
    serde = CheckpointSerializer()
    assert serde.loads_typed(serde.dumps_typed(pd.NaT)) is pd.NaT
    assert serde.loads_typed(serde.dumps_typed(pd.NA)) is pd.NA


def test_restored_array_is_writable() -> None:
    serde = CheckpointSerializer()
    array = serde.loads_typed(serde.dumps_typed({"a": np.array([1.0])}))["a"]
    array += 1
    assert array.tolist() == [2.0]


def test_types_known_to_langgraph_are_written_as_langgraph_does() -> None:
    ours, plain = CheckpointSerializer(), CheckpointSerializer.__mro__[1]()
    for value in ({"a": [1, "x", None]}, AIMessage("hi", id="1"), Box(1), Form(inside=2), {3}, Send("n", 1)):
        assert ours.dumps_typed(value) == plain.dumps_typed(value)


@dataclass(slots=True)
class Slotted:
    inside: Any


@dataclass(frozen=True)
class Odd:
    """A key that msgpack does not accept."""

    name: str = "odd"


ITSELF: dict[str, Any] = {"a": []}
ITSELF["a"].append(ITSELF)

LOCK = threading.Lock()
A_LOCK = "a value of type _thread.lock cannot be kept in a checkpoint; keep plain data in it"
TOO_LARGE = "a value of type int of more than 64 bits cannot be kept in a checkpoint; keep it as a string"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"lock": LOCK}, f"lock: {A_LOCK}"),
        ({"channel_versions": {}, "channel_values": {"scores": [1, {"lock": LOCK}]}}, f"scores[1].lock: {A_LOCK}"),
        ({"box": Box({"lock": LOCK})}, f"box.inside.lock: {A_LOCK}"),
        ({"box": Slotted({"lock": LOCK})}, f"box.inside.lock: {A_LOCK}"),
        ({"form": Form(inside=[LOCK])}, f"form.inside[0]: {A_LOCK}"),
        ({"message": AIMessage("x", additional_kwargs={"lock": LOCK})}, f"message.additional_kwargs.lock: {A_LOCK}"),
        ({"__interrupt__": [Interrupt({"a": [LOCK]}, id="i")]}, f"__interrupt__[0].value.a[0]: {A_LOCK}"),
        ({"sent": [Send("n", {"a": LOCK})]}, f"sent[0].arg.a: {A_LOCK}"),
        ({"frame": pd.DataFrame({"c": [1, LOCK]})}, f"frame['c'][1]: {A_LOCK}"),
        ({"array": np.array([1, LOCK], dtype=object)}, f"array[1]: {A_LOCK}"),
        ({"n": [2**100]}, f"n[0]: {TOO_LARGE}"),
        ({"n": -(2**70)}, f"n: {TOO_LARGE}"),
        ({"module": threading}, "module: a value of type module cannot be kept in a checkpoint; keep plain data"),
        (
            {"by": {Odd(): 1}},
            f"by: a key of type {__name__}.Odd, \"Odd(name='odd')\", cannot be kept in a checkpoint; use a string as",
        ),
        ({"by": {np.int64(1): 1}}, "by: a key of type numpy.int64, '1', cannot be kept in a checkpoint; use a string"),
        (
            {"x": ITSELF},
            "x.a[0]: a value of type dict that contains itself cannot be kept in a checkpoint; refer to it by an id",
        ),
    ],
    ids=lambda value: value.partition(" cannot")[0] if isinstance(value, str) else "",
)
@pytest.mark.parametrize("pickles", [False, True])
def test_unserializable_value_error_names_path_type_and_remedies(value: Any, said: str, pickles: bool) -> None:
    # A lock, which pickle does not accept either.
    whole = [value, LOCK] if pickles else value
    with pytest.raises(UnstorableValue) as refused:
        CheckpointSerializer(pickle_fallback=pickles).dumps_typed(whole)
    assert str(refused.value).removeprefix("[0].").startswith(said)
    assert str(refused.value).endswith(
        'or set {"checkpointer": {"serde": {"pickle_fallback": true}}} in langgraph.json'
    )


def test_value_that_is_nested_too_deeply_is_named_as_such() -> None:
    deep: Any = LOCK
    for _ in range(200):
        deep = [deep]
    with pytest.raises(
        UnstorableValue, match=r"x\[0\].*\.\.\.: a value of type dict of more than 100 levels cannot be kept"
    ):
        CheckpointSerializer().dumps_typed({"x": deep})
