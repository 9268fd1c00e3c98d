"""Thread stream for older clients: its modes, and ids that are ordered over the thread's runs.

An id is computed from durable data: the time at which a run began (or a state was written), and the position in the
run's own log. So all readers see the same ids, and a reader that returns can resume at its position, whatever has
happened since.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias, get_args

from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.types import RunRecord
from runstead.runtime.stream_bridge.event_ids import position_after

from .errors import Unprocessable

ThreadStreamMode: TypeAlias = Literal["run_modes", "lifecycle", "state_update"]

_MODES: Final[tuple[ThreadStreamMode, ...]] = get_args(ThreadStreamMode)
_ID: Final = re.compile(r"([0-9]{1,17})-([0-9]{1,10})-([0-9]{1,17})")
_OF_LOG: Final = re.compile(r"(\d+)-(\d+)")
_END: Final = 2**53 - 1
"""Greater than every position in a log."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Position in a thread's stream. ``time`` is in microseconds since 1970."""

    time: int
    attempt: int = 0
    seq: int = 0

    @classmethod
    def of_run(cls, run: RunRecord) -> Place:
        """Return the position before the first event of a run."""
        return cls.at(run.started_at or run.ended_at or run.created_at)

    @classmethod
    def at(cls, time: datetime) -> Place:
        return cls(round(time.timestamp() * 1_000_000))

    @classmethod
    def parse(cls, text: str) -> Place | None:
        """Parse an id; None if it is not an id of such a stream. ``-1`` is before everything."""
        if text.strip() == "-1":
            return cls(0)
        match = _ID.fullmatch(text.strip())
        return None if match is None else cls(*(int(part) for part in match.groups()))

    def of_log(self, log_id: str) -> Place | None:
        """Return the position of an entry of the run's log; None for an entry without an id."""
        match = _OF_LOG.fullmatch(log_id)
        return None if match is None else Place(self.time, int(match[1]), int(match[2]))

    def end(self, attempt: int) -> Place:
        """Return the position of the end of the run that begins here."""
        return Place(self.time, attempt, _END)

    @property
    def is_end(self) -> bool:
        return self.seq == _END

    @property
    def log_id(self) -> str:
        """Id of the same position in the run's own log."""
        return position_after(self.attempt, self.seq)

    def __str__(self) -> str:
        return f"{self.time}-{self.attempt}-{self.seq}"


def gap_of_run(data: bytes, start: Place) -> JsonObject:
    """Return the payload of a gap in the stream of the run that begins at ``start``. Ids that a client sends back are
    converted to ids of the thread's stream."""
    gap: JsonObject = json.loads(data)
    for key in ("requested_event_id", "earliest_available_event_id", "latest_available_event_id"):
        if isinstance(log_id := gap.get(key), str):
            gap[key] = str(start.of_log(log_id) or start)
    return gap


def thread_modes_of(*parameters: Sequence[str] | None) -> frozenset[ThreadStreamMode]:
    """Return the modes in query parameters: repeated, separated by commas, or a JSON list. Raises Unprocessable.

    Without any, return the mode of the runs' events.
    """
    texts = [text for parameter in parameters for text in parameter or ()]
    names = [name.strip(' "[]') for text in texts for name in text.split(",")]
    chosen = frozenset(mode for mode in _MODES if mode in names)
    for name in names:
        if name and name not in _MODES:
            raise Unprocessable(f"stream_mode: {name[:100]!r} is not one of {', '.join(_MODES)}")
    return chosen or frozenset(("run_modes",))
