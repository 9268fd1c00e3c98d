"""Read checkpoints: one, a page of them, or the chain of writes behind a delta channel.

Reading and decoding run in a reader thread: decoding a state of some megabytes does not block the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeAlias

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
    get_checkpoint_id,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.page_budget import PageBudget

from .damage import check_parts, telling_damage
from .driver import Driver
from .encrypted import read_metadata
from .handler_encryption import Stored

PAGE_BYTES: Final = 8 * 1024 * 1024
"""Maximum bytes of checkpoints read at a time. Decoded, they take several times as much."""
Place: TypeAlias = tuple[int | str, ...]
"""The end of a page: the last checkpoint's values of the columns that order the listing."""

_IN_NAMESPACE: Final = ("position",)
_ACROSS: Final = ("checkpoint_id", "thread_id", "checkpoint_ns")
_COLUMNS: Final = "thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata"
_PLACED: Final = (*_COLUMNS.split(", "), "position")
_ONE: Final = f"SELECT {_COLUMNS} FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
_LATEST: Final = (
    f"SELECT {_COLUMNS} FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? ORDER BY position DESC LIMIT 1"
)
_WRITES: Final = (
    "SELECT task_id, channel, type, value, task_path, idx FROM writes"
    " WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
)
# The checkpoint and its writes in one statement; the columns of the writes are in places of the same types.
_AT_ONCE: Final = f"""
    WITH found AS MATERIALIZED (%s)
    SELECT {_COLUMNS}, CAST(NULL AS integer) AS idx, true AS is_checkpoint FROM found
    UNION ALL
    SELECT w.task_id, w.channel, w.task_path, NULL, w.type, w.value, NULL, w.idx, false
    FROM writes w JOIN found f ON w.thread_id = f.thread_id AND w.checkpoint_ns = f.checkpoint_ns
        AND w.checkpoint_id = f.checkpoint_id
"""
_ONE_AT_ONCE: Final = _AT_ONCE.replace("%s", _ONE)
_LATEST_AT_ONCE: Final = _AT_ONCE.replace("%s", _LATEST)

_POSITION: Final = "(SELECT position FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?)"
# An id that is not stored still contains the time at which it was made.
_EARLIER: Final = f"CASE WHEN {_POSITION} IS NULL THEN checkpoint_id < ? ELSE position < {_POSITION} END"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The conditions and the order of a listing, as SQL: by position within a namespace, by id across several."""

    conditions: tuple[str, ...]
    values: tuple[Any, ...]
    order: tuple[str, ...]

    @classmethod
    def of(cls, config: RunnableConfig | None, before: RunnableConfig | None) -> Wanted:
        wanted: dict[str, tuple[Any, ...]] = {}
        place = {} if config is None else config["configurable"]
        if config is not None:
            wanted["thread_id = ?"] = (str(place["thread_id"]),)
            if place.get("checkpoint_ns") is not None:
                wanted["checkpoint_ns = ?"] = (place["checkpoint_ns"],)
            if checkpoint_id := get_checkpoint_id(config):
                wanted["checkpoint_id = ?"] = (checkpoint_id,)
        in_namespace = place.get("checkpoint_ns") is not None
        if before is not None and (earlier := get_checkpoint_id(before)):
            key = (str(place["thread_id"]), place["checkpoint_ns"], earlier) if in_namespace else ()
            wanted |= {_EARLIER: (*key, earlier, *key)} if in_namespace else {"checkpoint_id < ?": (earlier,)}
        values = tuple(chain.from_iterable(wanted.values()))
        return cls(tuple(wanted), values, _IN_NAMESPACE if in_namespace else _ACROSS)


def get(driver: Driver, serde: SerializerProtocol, config: RunnableConfig) -> CheckpointTuple | None:
    """Return the checkpoint that ``config`` names, or the latest one of its thread and namespace."""
    place = config["configurable"]
    key = (str(place["thread_id"]), place.get("checkpoint_ns", ""))
    checkpoint_id = get_checkpoint_id(config)
    if checkpoint_id:
        row = driver.execute(_ONE, (*key, str(checkpoint_id))).fetchone()
    else:
        row = driver.execute(_LATEST, key).fetchone()
    return None if row is None else _tuple(driver, serde, row)


def get_at_once(driver: Driver, serde: SerializerProtocol, config: RunnableConfig) -> CheckpointTuple | None:
    """Return the same as `get`, in one statement: for a server, which each statement is a round trip to."""
    place = config["configurable"]
    key = (str(place["thread_id"]), place.get("checkpoint_ns", ""))
    checkpoint_id = get_checkpoint_id(config)
    if checkpoint_id:
        rows = driver.execute(_ONE_AT_ONCE, (*key, str(checkpoint_id))).fetchall()
    else:
        rows = driver.execute(_LATEST_AT_ONCE, key).fetchall()
    found = next((row[:7] for row in rows if row[8]), None)
    if found is None:
        return None
    writes = [(row[0], row[1], row[4], row[5], row[2], row[7]) for row in rows if not row[8]]
    return _with_writes(serde, found, writes)


def page(
    driver: Driver,
    serde: SerializerProtocol,
    wanted: Wanted,
    after: Place | None,
    filter: JsonMapping,
    size: int,
) -> tuple[list[CheckpointTuple], Place | None]:
    """Return up to ``size`` checkpoints after a position, newest first, without those that ``filter`` excludes.

    If they are large, fewer are read at a time, but at least one.

    The second value is the position to continue from, or None if there are no more.
    """
    conditions, values, order = list(wanted.conditions), list(wanted.values), wanted.order
    if after is not None:
        conditions.append(f"({', '.join(order)}) < ({', '.join('?' * len(order))})")
        values += after
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    newest_first = ", ".join(f"{column} DESC" for column in order)
    rest = f"FROM checkpoints {where} ORDER BY {newest_first}"
    if size > 1:
        sizes = driver.execute(f"SELECT length(checkpoint) {rest} LIMIT {size}", values).fetchall()
        budget = PageBudget(PAGE_BYTES)
        fitting = budget.fitting(length or 0 for (length,) in sizes)
        size = fitting if budget.is_cut else size
    rows = driver.execute(f"SELECT {_COLUMNS}, position {rest} LIMIT {size}", values).fetchall()
    found = [_tuple(driver, serde, row[:7]) for row in rows if _passes(serde, row, filter)]
    if len(rows) < size:
        return found, None
    last = dict(zip(_PLACED, rows[-1], strict=True))
    return found, tuple(last[column] for column in order)


def delta_history(
    driver: Driver, serde: SerializerProtocol, config: RunnableConfig, channels: Sequence[str]
) -> Mapping[str, DeltaChannelHistory]:
    """Return the writes of each channel since its last complete value; see BaseCheckpointSaver."""
    writes: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}
    seeds: JsonObject = {}
    missing = set(channels)
    target = get(driver, serde, config)
    ancestor = target.parent_config if target else None
    # A checkpoint written again below a descendant would make the chain a cycle.
    seen: set[str] = {target.checkpoint["id"]} if target else set()
    while ancestor is not None and missing:
        found = get(driver, serde, ancestor)
        if found is None or found.checkpoint["id"] in seen:
            break
        seen.add(found.checkpoint["id"])
        for write in reversed(found.pending_writes or ()):
            if write[1] in missing:
                writes[write[1]].append(write)
        held = missing & found.checkpoint["channel_values"].keys()
        seeds.update({channel: found.checkpoint["channel_values"][channel] for channel in held})
        missing -= held
        ancestor = found.parent_config
    return {channel: _history(writes[channel], seeds, channel) for channel in channels}


def _history(newest_first: list[PendingWrite], seeds: JsonMapping, channel: str) -> DeltaChannelHistory:
    history: DeltaChannelHistory = {"writes": newest_first[::-1]}
    if channel in seeds:
        history["seed"] = seeds[channel]
    return history


def _passes(serde: SerializerProtocol, row: Any, filter: JsonMapping) -> bool:
    if not filter:
        return True
    thread_id, _, checkpoint_id, *_, metadata, _ = row
    with telling_damage(thread_id, checkpoint_id):
        return has_all(_metadata(serde, metadata), filter)


def has_all(described: JsonMapping, filter: JsonMapping) -> bool:
    """Return whether the metadata contain all items of ``filter``."""
    return all(key in described and described[key] == value for key, value in filter.items())


def _tuple(driver: Driver, serde: SerializerProtocol, row: Any) -> CheckpointTuple:
    return _with_writes(serde, row, driver.execute(_WRITES, row[:3]).fetchall())


def _with_writes(serde: SerializerProtocol, row: Any, pending: list[Any]) -> CheckpointTuple:
    thread_id, namespace, checkpoint_id, parent_id, kind, checkpoint, metadata = row
    # In the order in which the step applied them, since a delta channel is rebuilt from them. langgraph-checkpoint has
    # a function for this key from 4.3 on.
    pending.sort(key=lambda write: (write[4], write[0], write[5]))
    with telling_damage(thread_id, checkpoint_id):
        loaded: Any = serde.loads_typed((kind, checkpoint))
        if not isinstance(loaded, Stored):
            # Values encrypted by handlers are checked after their decryption.
            check_parts(loaded)
        return CheckpointTuple(
            config=_config(thread_id, namespace, checkpoint_id),
            checkpoint=loaded,
            metadata=_metadata(serde, metadata),
            parent_config=_config(thread_id, namespace, parent_id) if parent_id else None,
            pending_writes=[
                (task_id, channel, serde.loads_typed((kind, value))) for task_id, channel, kind, value, _, _ in pending
            ],
        )


def _metadata(serde: SerializerProtocol, text: bytes | None) -> Any:
    described = read_metadata(serde, text)
    if not isinstance(described, dict):
        raise ValueError(f"its metadata are {type(described).__name__} and no object")
    return described


def _config(thread_id: str, namespace: str, checkpoint_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}}
