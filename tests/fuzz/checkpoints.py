"""The target of serialized checkpoints: read by the serializer, and from the database of a running server."""

from __future__ import annotations

import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import ormsgpack
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolCall
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.types import Command, Interrupt, Send

from runstead.infra.checkpoints.blocked_names import BlockedNames
from runstead.infra.checkpoints.serde import CheckpointSerializer
from tests.infra.test_hostile_checkpoints import hostile

from .target import Target
from .values import TEXTS, mutated, mutated_bytes, values
from .world import CANARY, Fault, World

_CALLS: Final = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen", "socket.connect", "os.remove")
_watched = threading.local()


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if getattr(_watched, "calls", None) is not None and event in _CALLS:
        _watched.calls.append(f"{event} {arguments!r}")


sys.addaudithook(_hook)


def checkpoint_targets(world: World, folder: Path) -> list[Target]:
    """A stored value, mutated, and read with and without a server."""
    marker = folder / "marker"
    seeds = [*hostile(marker), *_innocent()]
    stored = st.one_of(st.sampled_from(seeds), _called(marker))
    typed = st.one_of(
        stored,
        stored.flatmap(lambda one: st.tuples(st.just(one[0]), mutated_bytes(st.just(one[1])))),
        st.tuples(st.sampled_from(("msgpack", "json", "null", "bytes", "pickle", "x")), st.binary(max_size=40)),
    )

    def load(example: tuple[str, bytes]) -> None:
        BlockedNames().first(*example)
        _watched.calls = []
        try:
            CheckpointSerializer().loads_typed(example)
        except Exception:
            # A reader reports it as an unreadable value, which the other target covers.
            pass
        finally:
            calls, _watched.calls = _watched.calls, None
        if calls or marker.exists() or "antigravity" in sys.modules:
            marker.unlink(missing_ok=True)
            raise Fault("a value that was read called something", f"{example!r}: {calls}")

    def read(example: tuple[str, bytes]) -> None:
        _read_by_server(world, example)
        if marker.exists():
            marker.unlink()
            raise Fault("a value that was read called something", repr(example))

    return [Target("stored values", typed, load), Target("stored checkpoints", typed, read)]


_CALL: Final = ToolCall(name="t", args={}, id="c")


def _innocent() -> list[tuple[str, bytes]]:
    serde = CheckpointSerializer()
    return [
        serde.dumps_typed(value)
        for value in (
            {"messages": [HumanMessage("hi", id="1"), AIMessage("", tool_calls=[_CALL])]},
            {**empty_checkpoint(), "channel_values": {"said": [1, 2.5, None, b"x"]}, "channel_versions": {"said": 1}},
            [Send("node", {"x": 1}), Command(goto="x", resume={"a": 1}), Interrupt("why?", id="i"), {1, 2}, (3, 4)],
        )
    ]


@st.composite
def _called(draw: st.DrawFn, marker: Path) -> tuple[str, bytes]:
    """A value that names a callable, in one of the serializer's forms."""
    names = ("os", "subprocess", "builtins", "pathlib", "operator", "importlib", "shutil", "langgraph.types", "")
    called = ("system", "Popen", "eval", "open", "Path", "methodcaller", "import_module", "rmtree", "Send")
    argument = st.one_of(st.just(f"touch {marker}"), st.sampled_from(TEXTS), values)
    parts = [
        draw(st.sampled_from(names)),
        draw(st.sampled_from(called)),
        draw(st.one_of(argument, st.lists(argument, max_size=2), st.fixed_dictionaries({"args": argument}))),
        draw(st.one_of(st.sampled_from(called), argument)),
    ]
    parts = draw(mutated(st.just(parts)))
    inner = _packed(parts)
    return "msgpack", _packed({"channel_values": {"x": ormsgpack.Ext(draw(st.integers(0, 8)), inner)}})


def _packed(value: Any) -> bytes:
    try:
        return ormsgpack.packb(value, option=ormsgpack.OPT_NON_STR_KEYS)
    except (TypeError, ValueError):
        # Integers and texts that msgpack cannot represent.
        return ormsgpack.packb(repr(value).encode("utf-8", "replace"))


def _read_by_server(world: World, example: tuple[str, bytes]) -> None:
    """Store it as the checkpoint of a new thread of Mallory's, and read that in all ways."""
    thread_id = world.copied_thread()
    with closing(sqlite3.connect(world.application.settings.data_dir / "checkpoints.db", timeout=30)) as connection:
        connection.execute("UPDATE checkpoints SET type = ?, checkpoint = ? WHERE thread_id = ?", (*example, thread_id))
        connection.commit()
    for method, path, body in (
        ("GET", f"/threads/{thread_id}/state", b""),
        ("GET", f"/threads/{thread_id}/history", b""),
        ("GET", f"/threads/{thread_id}", b""),
        ("POST", f"/threads/{thread_id}/state", b'{"values": {"said": 1}}'),
        ("POST", f"/threads/{thread_id}/runs/wait", b'{"assistant_id": "echo", "input": {"said": 1}}'),
        ("POST", f"/threads/{thread_id}/copy", b""),
        ("DELETE", f"/threads/{thread_id}", b""),
    ):
        answer = world.ask(method, path, body=body)
        if CANARY.encode() in answer.body:
            raise Fault("data of another user", f"{example!r}: {answer}")
        if answer.status >= 500 and answer.status not in (503, 507):
            raise Fault(f"status {answer.status} of {method} {path.rpartition('/')[2]}", f"{example!r}: {answer}")
    world.log.forget()
