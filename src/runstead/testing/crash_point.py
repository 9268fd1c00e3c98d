"""Point at which a test's server crashes: a call in the code of an agent, or a node, tool or model by its name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal, TypeAlias
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler

from runstead.runtime.json_types import JsonObject

Moment: TypeAlias = Literal["before", "after"]


class ServerCrashed(BaseException):
    """Raised in the code that runs when its server crashes. Not derived from Exception, so that agents do not handle
    it."""


class CrashPoint:
    """Crashes the server of the code that calls it, once; later calls do nothing.

    The stored data is copied as it is at this moment, and the next server starts with the copy. What the crashed server
    does after that is lost.
    """

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._save: Callable[[], object] | None = None
        self._named: tuple[Moment, str] | None = None
        self._fired = threading.Event()
        self._was_called = False
        self.passed: list[str] = []
        """Names of the nodes, tools and models that ran while a named point was armed."""

    def attach(self, save: Callable[[], object]) -> None:
        """Set the function that copies the stored data of the server that crashes."""
        self._save = save

    def arm(self, moment: Moment, name: str) -> None:
        """Crash once ``before`` or ``after`` a node, tool or model of this name executes."""
        with self._gate:
            self._named, self.passed = (moment, name), []
            self._fired.clear()

    def disarm(self) -> None:
        """Keep the server alive at the named point."""
        self._named = None

    @property
    def has_fired(self) -> bool:
        return self._fired.is_set()

    def reset(self) -> None:
        """Note that the next server has started."""
        self._fired.clear()

    def __call__(self) -> None:
        """Crash here. Raises ServerCrashed, once."""
        with self._gate:
            save = None if self._was_called else self._save
            self._was_called = save is not None or self._was_called
        if save is not None:
            self._crash(save)

    def reach(self, moment: Moment, name: str) -> None:
        """Crash if this is the named point. Raises ServerCrashed."""
        with self._gate:
            if self._named is None:
                return
            self.passed.append(name)
            if self._named != (moment, name) or self._save is None:
                return
            self._named, save = None, self._save
        self._crash(save)

    def _crash(self, save: Callable[[], object]) -> None:
        save()
        self._fired.set()
        raise ServerCrashed


class CrashWatch(BaseCallbackHandler):
    """Callback of a graph that reports to a CrashPoint which nodes, tools and models begin and end."""

    # In the code's own thread: an error of a handler in another thread would come too late.
    run_inline = True
    raise_error = True

    def __init__(self, point: CrashPoint) -> None:
        self._point = point
        self._names: dict[UUID, str] = {}

    def on_chain_start(self, serialized: Any, inputs: object, *, run_id: UUID, **more: object) -> None:
        self._begin(run_id, more.get("name"))

    def on_chain_end(self, outputs: object, *, run_id: UUID, **more: object) -> None:
        self._end(run_id)

    def on_tool_start(self, serialized: Any, input_str: str, *, run_id: UUID, **more: object) -> None:
        self._begin(run_id, _name_of(serialized))

    def on_tool_end(self, output: object, *, run_id: UUID, **more: object) -> None:
        self._end(run_id)

    def on_chat_model_start(self, serialized: Any, messages: object, *, run_id: UUID, **more: object) -> None:
        self._begin(run_id, more.get("name"))

    def on_llm_end(self, response: object, *, run_id: UUID, **more: object) -> None:
        self._end(run_id)

    def _begin(self, run_id: UUID, name: object) -> None:
        if isinstance(name, str):
            self._names[run_id] = name
            self._point.reach("before", name)

    def _end(self, run_id: UUID) -> None:
        if (name := self._names.pop(run_id, None)) is not None:
            self._point.reach("after", name)


def _name_of(serialized: JsonObject | None) -> object:
    return (serialized or {}).get("name")
