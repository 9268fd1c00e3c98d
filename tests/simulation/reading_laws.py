"""Laws 4 and 5 for readers: compare what one client received with what the bridges accepted."""

from __future__ import annotations

import json
from collections.abc import Iterator

from runstead.runtime.stream_bridge.contract import StreamEvent

from .kernel import Durable
from .plan import Plan
from .recorder import Published, Reading


def broken_readings(plan: Plan, durable: Durable) -> Iterator[str]:
    """Check that ids increase, that losses are reported, and that the terminal event is the last one."""
    for reading in durable.witness.readings:
        text = _Check(reading, durable.witness.published.get(reading.run_id, ())).broken()
        if text is not None:
            yield f"reader of {reading.run_id}: {text}; it read {_shown(reading)}"


class _Check:
    """Checks the items of one reading in order."""

    def __init__(self, reading: Reading, published: tuple[Published, ...] | list[Published]) -> None:
        self._reading = reading
        self._logs: dict[str, list[str]] = {}
        for event in published:
            self._logs.setdefault(event.process, []).append(event.event_id)
        self._ends = {event.process for event in published if event.terminal}
        self._last: tuple[int, int] = (0, 0)
        self._place: tuple[str, int] | None = None
        self._gap: int | None = 0
        self._told_gap = False

    def broken(self) -> str | None:
        connection, terminal_seen = 0, False
        for item in self._reading.items:
            if item is None:
                connection += 1
            elif isinstance(item, StreamEvent):
                if terminal_seen:
                    return "something came after the terminal event"
                terminal_seen = item.terminal is not None
                if text := self._event(item, self._reading.processes[connection]):
                    return text
        return self._end(terminal_seen)

    def _event(self, event: StreamEvent, process: str) -> str | None:
        if not event.id:
            if event.event == "gap":
                self._told_gap, self._gap = True, json.loads(event.data)["missed"]
            return None
        pair = _pair(event.id)
        if pair <= self._last:
            return f"{event.id} came after {self._last[0]}-{self._last[1]}"
        self._last = pair
        return self._follows(event, process) if self._reading.whole else None

    def _follows(self, event: StreamEvent, process: str) -> str | None:
        """Return an error if events were lost without notice between the previous event and this one."""
        log = self._logs.get(process, [])
        if event.id not in log:
            return f"{event.id} was never published by {process}"
        place = log.index(event.id)
        before, self._place = self._place, (process, place)
        told, self._told_gap = self._told_gap, False
        expected = before[1] + 1 if before is not None and before[0] == process else 0
        if place == expected:
            return None
        if not told:
            return f"{place - expected} events were lost before {event.id} without a word"
        if self._gap is not None and before is not None and before[0] == process and self._gap != place - expected:
            return f"{place - expected} events were lost before {event.id}, and the reported gap is {self._gap}"
        return None

    def _end(self, terminal_seen: bool) -> str | None:
        if not self._reading.ended or not self._reading.whole or not self._reading.processes:
            return None
        if self._told_gap:
            # The gap event said that the rest is gone: the stream had expired.
            return None
        process = self._reading.processes[-1]
        log = self._logs.get(process, [])
        has_all = terminal_seen or self._place == (process, len(log) - 1)
        if process in self._ends and self._read_in(process) and not has_all:
            return f"the stream ended before its last event {log[-1]}"
        return None

    def _read_in(self, process: str) -> bool:
        return self._place is not None and self._place[0] == process


def _pair(event_id: str) -> tuple[int, int]:
    attempt, _, seq = event_id.partition("-")
    return int(attempt), int(seq)


def _shown(reading: Reading) -> str:
    return " ".join(
        "|" if item is None else (f"{item.event}:{item.id}" if isinstance(item, StreamEvent) else item.value)
        for item in reading.items
    )
