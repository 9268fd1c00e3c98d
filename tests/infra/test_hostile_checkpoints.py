"""Reading a checkpoint that names a function, or a class that is more than data, calls nothing."""

from __future__ import annotations

import logging
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import ormsgpack
import pytest
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde import jsonplus
from langgraph.types import Command, Interrupt
from pydantic import BaseModel, SecretStr
from sqlalchemy import update

from runstead.infra.checkpoints.blocked_names import BlockedNames
from runstead.infra.checkpoints.postgres import PostgresCheckpoints
from runstead.infra.checkpoints.serde import CheckpointSerializer
from runstead.infra.checkpoints.sqlite import open_checkpoints
from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.storage.checkpoint_tables import checkpoints, writes

SINGLE, POSITIONAL, KEYWORDS, METHOD, PYDANTIC_1, PYDANTIC_2 = range(6)


def payload(code: int, *parts: Any) -> tuple[str, bytes]:
    return "msgpack", ormsgpack.packb({"values": [ormsgpack.Ext(code, ormsgpack.packb(parts))]})


def hostile(marker: Path) -> list[tuple[str, bytes]]:
    """Values that would create ``marker``, or import an unused module, if they were constructed."""
    command = f"touch {marker}"
    return [
        payload(SINGLE, "os", "system", command),
        payload(POSITIONAL, "os", "system", [command]),
        payload(KEYWORDS, "os", "system", {"command": command}),
        payload(METHOD, "os", "os", command, "system"),
        payload(PYDANTIC_1, "subprocess", "Popen", {"args": ["touch", str(marker)]}),
        payload(PYDANTIC_2, "subprocess", "Popen", {"args": ["touch", str(marker)]}, "model_validate_json"),
        payload(SINGLE, "builtins", "eval", f"open({str(marker)!r}, 'w')"),
        payload(POSITIONAL, "builtins", "open", [str(marker), "w"]),
        payload(POSITIONAL, "pathlib", "os.system", [command]),
        payload(POSITIONAL, "runstead.private_files", "create_private", [str(marker)]),
        payload(SINGLE, "importlib", "import_module", "antigravity"),
        payload(SINGLE, "antigravity", "fly", ""),
        ("pickle", b"cos\nsystem\n(S'" + command.encode() + b"'\ntR."),
        ("json", f'{{"lc": 2, "type": "constructor", "id": ["os", "system"], "args": ["{command}"]}}'.encode()),
    ]


@pytest.mark.parametrize("place", range(14))
def test_hostile_value_calls_nothing(place: int, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    kind, data = hostile(marker)[place]
    try:
        CheckpointSerializer().loads_typed((kind, data))
    except NotImplementedError:
        assert kind == "pickle"
    assert not marker.exists()
    assert "antigravity" not in sys.modules


async def test_stored_checkpoint_that_names_a_function_is_read_without_it_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    marker, file = tmp_path / "marker", tmp_path / "checkpoints.db"
    jsonplus._warned_blocked_types.clear()
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    async with open_checkpoints(file) as store:
        await store.saver.aput(config, empty_checkpoint(), {}, {})
    call = ormsgpack.Ext(SINGLE, ormsgpack.packb(("os", "system", f"touch {marker}")))
    stored = ormsgpack.packb({**empty_checkpoint(), "channel_values": {"x": call}})
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("UPDATE checkpoints SET checkpoint = ?", (stored,)).rowcount == 1
        connection.commit()
    async with open_checkpoints(file) as store:
        with caplog.at_level(logging.WARNING):
            found = await store.saver.aget_tuple(config)
    assert found is not None
    assert found.checkpoint["channel_values"] == {"x": f"touch {marker}"}
    assert not marker.exists()
    assert "Blocked deserialization of os.system" in caplog.text


async def test_stored_checkpoint_on_postgresql_is_read_without_the_function(
    postgres_database: PostgresDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    marker = tmp_path / "marker"
    jsonplus._warned_blocked_types.clear()
    saver = PostgresCheckpoints(postgres_database).saver
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    call = ormsgpack.Ext(SINGLE, ormsgpack.packb(("os", "system", f"touch {marker}")))
    stored = ormsgpack.packb({**empty_checkpoint(), "channel_values": {"x": call}})
    saved = await saver.aput(config, empty_checkpoint(), {}, {})
    await saver.aput_writes(saved, [("y", 1)], "task")
    await postgres_database.write(lambda c: c.execute(update(checkpoints).values(checkpoint=stored)).close())
    written = ormsgpack.packb(call)
    await postgres_database.write(lambda c: c.execute(update(writes).values(value=written)).close())
    with caplog.at_level(logging.WARNING):
        found = await saver.aget_tuple(config)
    assert found is not None
    assert found.checkpoint["channel_values"] == {"x": f"touch {marker}"}
    assert found.pending_writes == [("task", "y", f"touch {marker}")]
    assert not marker.exists()
    assert "Blocked deserialization of os.system" in caplog.text


@pytest.mark.parametrize("place", range(14))
def test_hostile_value_is_found_without_reading_it(place: int, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    kind, data = hostile(marker)[place]
    assert BlockedNames().first(kind, data) is not None
    assert not marker.exists()
    assert "antigravity" not in sys.modules


@dataclass
class Box:
    inside: Any


class Form(BaseModel):
    inside: Any = None


class Color(Enum):
    RED = "red"


class Pair(NamedTuple):
    left: int
    right: int


class Tags(set[str]):
    pass


VALUES = [
    Box(1), Form(inside=2), Color.RED, Pair(1, 2), Tags({"a"}), HTTPStatus.OK, Decimal("1.5"), SecretStr("x"),
    HumanMessage("hi"), Document("text"), Command(goto="x"), Interrupt("why?"),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_data_round_trips_without_an_allow_list(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    serde = CheckpointSerializer()
    with caplog.at_level(logging.WARNING):
        found = serde.loads_typed(serde.dumps_typed({"value": value}))["value"]
    assert found == value
    assert type(found) is type(value)
    assert caplog.text == ""


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_plain_data_has_no_blocked_name(value: Any) -> None:
    assert BlockedNames().first(*CheckpointSerializer().dumps_typed({"value": [value]})) is None


def test_classes_of_packages_that_are_not_imported_are_left_to_readers() -> None:
    assert BlockedNames().first(*payload(KEYWORDS, "agents_of_mine", "State", {"a": 1})) is None
    assert "agents_of_mine" not in sys.modules


def test_listed_names_are_allowed() -> None:
    assert (
        BlockedNames(frozenset({("fractions", "Fraction")})).first(*payload(POSITIONAL, "fractions", "Fraction", [1]))
        is None
    )
    assert BlockedNames(allows_pickle=True).first("pickle", b"") is None


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\xff" * 9, b"{", b"[" * 200_000], ids=len)
@pytest.mark.parametrize("kind", ["msgpack", "json", "msgpack+runstead", "bytes", "null", None])
def test_unreadable_data_yields_no_blocked_name(kind: str | None, data: bytes) -> None:
    assert BlockedNames().first(kind, data) is None
