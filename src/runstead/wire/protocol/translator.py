"""Translator of one run's stream to the event protocol. Pure: the same log gives the same events for every reader at
any time.

Facts that a run's stream does not contain (its start, its end, its interrupts) become synthesized events. Their ids
begin with ``synth:`` and are built from the run's id and the event's content, so that they can be repeated without the
log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.types import RunRecord, RunStatus
from runstead.runtime.stream_bridge.contract import StreamEvent

from .blocks import Data
from .checkpoints import checkpoint_id_of, envelope, time_of
from .compact_messages import slim_state
from .events import Namespace, ProtocolEvent
from .lifecycles import LifecycleTranslator, Lived
from .messages import MessageTranslator, Said
from .numbering import Numbering, milliseconds
from .tools import ToolTranslator

INTERRUPT: Final = "__interrupt__"
RESUME_GAP: Final = "resume_gap"


class RunTranslator:
    """Translator of one run. Feed it the run's log from the first event on.

    ``says`` is False if no reader selects the channels of messages and tools: their events are then skipped, and all
    other events stay the same.
    """

    def __init__(self, run: RunRecord, *, says: bool = True) -> None:
        self._run, self._says = run, says
        self._numbers = Numbering(run)
        self._time = milliseconds(run.started_at or run.ended_at or run.created_at)
        self._messages, self._tools = MessageTranslator(), ToolTranslator()
        self._lifecycles = LifecycleTranslator()
        self._held: tuple[StreamEvent, Namespace, object] | None = None
        self._asked: dict[str, tuple[Namespace, JsonMapping]] = {}
        self._with_tasks = "tasks" in run.spec.stream_modes
        self._with_checkpoints = "checkpoints" in run.spec.stream_modes
        self._begun = self._paused = self.over = False
        self._entry, self._count = "", 0

    def translate(self, event: StreamEvent) -> Iterator[ProtocolEvent]:
        """Yield the protocol events for one event of the log. The terminal event goes to `end`."""
        self._entry, self._count = event.id, 0
        name, *path = event.event.split("|")
        namespace = tuple(path)
        if name == "messages" and not self._says:
            return
        yield from self.begin()
        if self._held and name not in ("checkpoints", "gap"):
            yield from self._release()
        match name:
            case "metadata":
                self._paused = False
                self._asked.clear()
                yield from self._said(self._messages.cut_off("the run went on with another attempt"))
            case "messages":
                yield from self._spoken(namespace, *orjson.loads(event.data))
            case "values":
                yield from self._values(event, namespace, orjson.loads(event.data))
            case "updates":
                yield from self._updates(namespace, orjson.loads(event.data))
            case "tasks":
                yield from self._task(namespace, orjson.loads(event.data))
            case "checkpoints":
                yield from self._checkpoint(namespace, orjson.loads(event.data))
            case "custom":
                yield from self._seen(namespace)
                yield self._made("custom", namespace, _custom(orjson.loads(event.data)))
            case "steering":
                yield self._made("custom", (), {"name": name, "payload": orjson.loads(event.data)})
            case _:
                # Metadata frames of "messages", "events" and "debug" contain the same data in another form.
                return

    def begin(self) -> Iterator[ProtocolEvent]:
        """Yield the start of the run, once."""
        if self._begun:
            return
        self._begun = True
        # Numbered by the run, not by the entry, since the first kept entry may be any.
        entry, self._entry = self._entry, ""
        yield self._synthesized("lifecycle", (), "lc||running", self._root("running"))
        if answered := _answered(self._run):
            yield self._synthesized("input.answered", (), "answered", {"interrupt_ids": answered})
        self._entry = entry

    def end(self, run: RunRecord, kind: str, error: str | None = None) -> Iterator[ProtocolEvent]:
        """Yield the end of the run; ``run`` contains its time. ``kind`` is that of the terminal event."""
        yield from self.begin()
        status = "failed" if kind == "error" else "interrupted" if kind == "cancel" or self._paused else "completed"
        if status == "completed" or self._paused:
            yield from self._said(self._messages.step_ended(()))
        else:
            yield from self._said(self._messages.cut_off(error or "the run was stopped"))
        if self._held:
            yield from self._release()
        yield from self._lived(self._lifecycles.run_ended(status, error))
        if run.ended_at is not None:
            self._time = max(self._time, milliseconds(run.ended_at))
        if status == "interrupted":
            yield from self._requests(run)
        data = self._root(status)
        number = self._numbers.at(run.ended_at)
        self.over = True
        yield ProtocolEvent(
            f"synth:{run.run_id}:lc||{status}", number, "lifecycle", (), self._time,
            {**data, "error": error, **(run.failure.facts if run.failure else {})} if error else data,
        )  # fmt: skip

    def _requests(self, run: RunRecord) -> Iterator[ProtocolEvent]:
        for interrupt_id, (namespace, interrupt) in self._asked.items():
            value = interrupt.get("value")
            # Clients of the protocol read the payload; langgraph-sdk for Python reads the value.
            data = {"interrupt_id": interrupt_id, "payload": value, "value": value}
            if (schema := interrupt.get("response_schema")) is not None:
                data["response_schema"] = schema
            event_id = f"synth:{run.run_id}:input|{'|'.join(namespace)}|{interrupt_id}"
            number = self._numbers.at(run.ended_at)
            yield ProtocolEvent(event_id, number, "input.requested", namespace, self._time, data)

    def values_left(self, values: bytes, run: RunRecord) -> Iterator[ProtocolEvent]:
        """Yield the values of a run whose log is not kept (any more)."""
        state = orjson.loads(values)
        if isinstance(state, dict):
            state.pop(INTERRUPT, None)
        at = self._numbers.at(run.ended_at)
        yield ProtocolEvent(f"synth:{run.run_id}:values", at, "values", (), self._time, slim_state(state))

    def asked(self, namespace: Namespace, interrupt: JsonMapping) -> None:
        """Record an interrupt of the run, which is reported at the end: before the run has settled, it cannot be
        answered.

        An interrupt is reported in the namespace in which it is seen first, which is the deepest one.
        """
        self._paused = True
        if isinstance(interrupt_id := interrupt.get("id"), str):
            self._asked.setdefault(interrupt_id, (namespace, interrupt))

    def gap(self, since: int | None) -> ProtocolEvent:
        """Return the event for missing events, after which the reader continues from here. It has no position of its
        own in the order."""
        number = self._numbers.of("")
        data = {"since": since, "min_available_seq": number}
        return ProtocolEvent(f"synth:{self._run.run_id}:gap", number, RESUME_GAP, (), self._time, data)

    def paused(self) -> None:
        """Record that the run stopped at an interrupt whose content is unknown."""
        self._paused = True

    def ended_at(self, run: RunRecord) -> None:
        """Number all further events by the run's end."""
        self._time = milliseconds(run.ended_at or run.updated_at)
        self._numbers.at(run.ended_at)

    def _spoken(self, namespace: Namespace, message: Any, metadata: Any) -> Iterator[ProtocolEvent]:
        if not isinstance(message, dict):
            return
        yield from self._seen(namespace)
        yield from self._said(self._messages.feed(namespace, message, metadata or {}))
        if message.get("type") in ("ai", "tool"):
            yield from self._used(namespace, self._tools.message(message))

    def _values(self, event: StreamEvent, namespace: Namespace, state: object) -> Iterator[ProtocolEvent]:
        yield from self._seen(namespace)
        yield from self._said(self._messages.step_ended(namespace))
        interrupts = state.pop(INTERRUPT, None) if isinstance(state, dict) else None
        self._held = (event, namespace, state)
        # A checkpoint follows its values, but readers need it before them. No other event is waited for.
        if not self._with_checkpoints or interrupts is not None or not event.id:
            yield from self._release()
        for interrupt in interrupts or ():
            # If tasks report the interrupt too, they also report its namespace, the deepest task first.
            self._paused = True
            if not self._with_tasks:
                self.asked(namespace, interrupt)

    def _release(self) -> Iterator[ProtocolEvent]:
        assert self._held is not None
        (event, namespace, state), self._held = self._held, None
        made = self._made("values", namespace, slim_state(state))
        event_id = f"{self._run.run_id}:{event.id}" if event.id else f"synth:{self._run.run_id}:values"
        yield ProtocolEvent(event_id, made.seq, made.method, made.namespace, made.timestamp, made.data)

    def _updates(self, namespace: Namespace, update: object) -> Iterator[ProtocolEvent]:
        if not isinstance(update, dict):
            return
        yield from self._seen(namespace)
        yield from self._said(self._messages.step_ended(namespace))
        for node, values in update.items():
            if node == INTERRUPT:
                # A breakpoint stops the run without an interrupt.
                self._paused = True
            else:
                yield self._made("updates", namespace, {"node": node, "values": slim_state(values)})

    def _task(self, namespace: Namespace, task: object) -> Iterator[ProtocolEvent]:
        if not isinstance(task, dict):
            return
        if "result" not in task:
            yield from self._lived(self._lifecycles.task_started(namespace, task))
            yield self._made("tasks", namespace, task)
            yield from self._used(namespace, self._tools.task_started(task))
            return
        yield from self._said(self._messages.step_ended(namespace))
        yield from self._used(namespace, self._tools.result(task.get("result")))
        yield self._made("tasks", namespace, task)
        for interrupt in task.get("interrupts") or ():
            if isinstance(interrupt, dict):
                self.asked(namespace, interrupt)
        yield from self._lived(self._lifecycles.task_ended(namespace, task))

    def _checkpoint(self, namespace: Namespace, checkpoint: object) -> Iterator[ProtocolEvent]:
        if not isinstance(checkpoint, dict):
            return
        held, self._held = self._held, None
        if held is not None and held[1] != namespace:
            self._held = held
            yield from self._release()
            held = None
        yield from self._seen(namespace)
        if (checkpoint_id := checkpoint_id_of(checkpoint.get("config"))) is not None:
            self._time = max(self._time, time_of(checkpoint_id) or 0)
            yield self._made("checkpoints", namespace, envelope(checkpoint_id, checkpoint))
        if held is not None:
            self._held = held
            yield from self._release()

    def _seen(self, namespace: Namespace) -> Iterator[ProtocolEvent]:
        # Tasks contain more about a starting graph: its name, and the tool call that started it.
        if not self._with_tasks:
            yield from self._lived(self._lifecycles.seen(namespace))

    def _lived(self, events: Iterator[Lived]) -> Iterator[ProtocolEvent]:
        for namespace, data in events:
            yield self._synthesized("lifecycle", namespace, f"lc|{'|'.join(namespace)}|{data['event']}", data)

    def _said(self, events: Iterator[Said]) -> Iterator[ProtocolEvent]:
        for namespace, data in events:
            yield self._made("messages", namespace, data)

    def _used(self, namespace: Namespace, events: Iterator[Data]) -> Iterator[ProtocolEvent]:
        for data in events:
            yield self._made("tools", namespace, data)

    def _made(self, method: str, namespace: Namespace, data: object) -> ProtocolEvent:
        """Return an event derived from a log entry, with the entry's id."""
        event_id = f"{self._run.run_id}:{self._entry}" + (f".{self._count}" if self._count else "")
        self._count += 1
        return ProtocolEvent(event_id, self._numbers.of(self._entry), method, namespace, self._time, data)

    def _synthesized(self, method: str, namespace: Namespace, name: str, data: Data) -> ProtocolEvent:
        event_id = f"synth:{self._run.run_id}:{name}"
        return ProtocolEvent(event_id, self._numbers.of(self._entry), method, namespace, self._time, data)

    def _root(self, status: str) -> Data:
        return {"event": status, "graph_name": self._run.spec.graph_id}


def kind_of(run: RunRecord) -> str:
    """Return the kind of terminal event that an ended run must have had."""
    if run.failure is not None:
        return "error"
    return "cancel" if run.status is RunStatus.INTERRUPTED else "end"


def _answered(run: RunRecord) -> list[str]:
    """Return the ids of the interrupts that a run answers, as far as it names them."""
    command = run.spec.command
    if command is None or not command.has_resume or not isinstance(command.resume, Mapping):
        return []
    return [key for key in command.resume if _is_interrupt_id(key)]


def _is_interrupt_id(text: object) -> bool:
    return isinstance(text, str) and len(text) == 32 and all(digit in "0123456789abcdef" for digit in text)


def _custom(payload: object) -> Data:
    """Return the data of a custom event. A payload with a name uses it as the event's name."""
    if not isinstance(payload, dict) or not isinstance(payload.get("name"), str):
        return {"payload": payload}
    if "payload" in payload:
        return payload
    return {"name": payload["name"], "payload": {key: value for key, value in payload.items() if key != "name"}}
