"""Recorded exchanges: read from their files, and compared with Runstead's responses.

Responses of two servers differ in ids, times and versions of libraries even when they are equivalent. An id of the
reference corresponds to one id of Runstead, everywhere; a time matches any time; a field that a library fills in
(`libraries`) matches the value of any other release; all else has to be equal, except for the wanted differences.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from .libraries import LIBRARY_FIELDS

FOLDER: Final = Path(__file__).parent / "transcripts"
_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32}\b")
_REQUEST: Final = re.compile(r"^### (GET|POST|PUT|PATCH|DELETE) (/\S*)$")
_STATUS: Final = re.compile(r"^-> (\d{3}) \(")


@dataclass(frozen=True, slots=True)
class Frame:
    """One server-sent event; ``has_id``: it had an id."""

    event: str
    data: Any
    has_id: bool


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its response. ``body`` is the request's, as JSON, or None."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    status: int
    answer_headers: Mapping[str, str]
    text: str

    @property
    def is_stream(self) -> bool:
        return self.answer_headers.get("content-type", "").startswith("text/event-stream")


def read_transcript(name: str) -> list[Exchange]:
    """Return the completely recorded exchanges of a file."""
    lines = (FOLDER / f"{name}.txt").read_text().splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("### ")]
    parts = [lines[start:end] for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]
    return [exchange for part in parts if (exchange := _read_exchange(part)) is not None]


def read_socket(name: str) -> tuple[list[str], list[str]]:
    """The messages of client and server over a WebSocket."""
    lines = (FOLDER / f"{name}.txt").read_text().splitlines()
    sent, said = ([line[3:] for line in lines if line.startswith(mark)] for mark in ("C> ", "S> "))
    return sent, said


def read_frames(text: str) -> list[Frame]:
    """The events of a stream; comments, such as heartbeats, are omitted."""
    frames = []
    for block in re.split(r"\r?\n\r?\n", text):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if re.match(r"\w+: ", line))
        if "event" in fields:
            frames.append(Frame(fields["event"], json.loads(fields["data"]), "id" in fields))
    return frames


def _read_exchange(lines: Sequence[str]) -> Exchange | None:
    request = _REQUEST.match(lines[0])
    status = next((number for number, line in enumerate(lines) if _STATUS.match(line)), None)
    if request is None or status is None:
        return None
    told = dict(line.split(": ", 1) for line in lines[1:status])
    end_of_headers = lines.index("", status)
    return Exchange(
        method=request[1],
        path=request[2],
        headers=json.loads(told.get("request-headers", "{}")),
        body=json.loads(told["request-body"]) if "request-body" in told else None,
        status=int(lines[status].split()[1]),
        answer_headers=dict(line.split(": ", 1) for line in lines[status + 1 : end_of_headers]),
        text="\n".join(lines[end_of_headers + 1 :]).strip("\n"),
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Wanted differences. Each entry gives the reason.

    ``theirs`` and ``ours`` are keys that only one side has, ``values`` are keys whose values differ. A key may be
    given with its parents: ``config.configurable``.
    """

    theirs: Mapping[str, str] = field(default_factory=dict)
    ours: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)


class Comparison:
    """Compares the reference's responses with Runstead's, and records the correspondence of ids."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._ours: dict[str, str] = {}
        self._theirs: dict[str, str] = {}
        self.differences: list[str] = []

    def to_ours(self, text: str) -> str:
        """Return ``text`` with every known id of the reference replaced by Runstead's."""
        return _ID.sub(lambda match: self._ours.get(match[0], match[0]), text)

    def same(self, theirs: Any, ours: Any, place: str = "$") -> None:
        if isinstance(theirs, dict) and isinstance(ours, dict):
            self._same_objects(theirs, ours, place)
        elif isinstance(theirs, list) and isinstance(ours, list):
            if len(theirs) != len(ours):
                self._differ(place, f"{len(theirs)} entries", f"{len(ours)} entries")
            for number, (one, other) in enumerate(zip(theirs, ours, strict=False)):
                self.same(one, other, f"{place}[{number}]")
        elif isinstance(theirs, str) and isinstance(ours, str):
            self._same_texts(theirs, ours, place)
        elif theirs != ours or isinstance(theirs, bool) is not isinstance(ours, bool):
            self._differ(place, theirs, ours)

    def same_frames(self, theirs: Sequence[Frame], ours: Sequence[Frame]) -> None:
        names = [frame.event.partition("|")[0] for frame in theirs]
        if names != [frame.event.partition("|")[0] for frame in ours]:
            self._differ("frames", names, [frame.event for frame in ours])
            return
        for number, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            place = f"frame {number} ({one.event})"
            self._same_texts(one.event, other.event, place)
            self.same(one.data, other.data, place)
            if one.has_id is not other.has_id:
                self._differ(place, f"id: {one.has_id}", f"id: {other.has_id}")

    def _same_objects(self, theirs: dict[str, Any], ours: dict[str, Any], place: str) -> None:
        left = dict(ours)
        for key, value in theirs.items():
            found = self._found(key, left)
            if found is None:
                if not _is_wanted(self._wanted.theirs, f"{place}.{key}"):
                    self._differ(f"{place}.{key}", value, "(nothing)")
                continue
            other = left.pop(found)
            if key in LIBRARY_FIELDS:
                if not LIBRARY_FIELDS[key].is_valid(other):
                    self._differ(f"{place}.{key}", value, other)
            elif not _is_wanted(self._wanted.values, f"{place}.{key}"):
                self.same(value, other, f"{place}.{key}")
        for key, value in left.items():
            if not _is_wanted(self._wanted.ours, f"{place}.{key}"):
                self._differ(f"{place}.{key}", "(nothing)", value)

    def _found(self, key: str, ours: Mapping[str, Any]) -> str | None:
        """Return Runstead's key for one of the reference: the same, or one that differs in ids only."""
        if key in ours:
            return key
        shape = _ID.sub("#", key)
        for candidate in ours:
            if shape != key and _ID.sub("#", candidate) == shape and self._could_be(key, candidate):
                self._same_texts(key, candidate, "key")
                return candidate
        return None

    def _could_be(self, theirs: str, ours: str) -> bool:
        pairs = zip(_ID.findall(theirs), _ID.findall(ours), strict=True)
        return all(self._ours.get(one, other) == other for one, other in pairs)

    def _same_texts(self, theirs: str, ours: str, place: str) -> None:
        if _is_time(theirs) and _is_time(ours):
            return
        if _ID.sub("#", theirs) != _ID.sub("#", ours):
            self._differ(place, theirs, ours)
            return
        for one, other in zip(_ID.findall(theirs), _ID.findall(ours), strict=True):
            if self._ours.setdefault(one, other) != other or self._theirs.setdefault(other, one) != one:
                self._differ(place, f"{one}, until here {self._ours[one]}", other)

    def _differ(self, place: str, theirs: Any, ours: Any) -> None:
        self.differences.append(f"{place}: theirs {_short(theirs)}, ours {_short(ours)}")


def _is_wanted(keys: Mapping[str, str], place: str) -> bool:
    path = re.sub(r"\[\d+\]", "", place)
    return any(path == key or path.endswith(f".{key}") for key in keys)


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 300 else text[:300] + "..."


def threads_of(exchanges: Sequence[Exchange]) -> Iterator[str]:
    """Ids of the threads that existed when a transcript began."""
    seen: set[str] = set()
    for exchange in exchanges:
        match = re.match(rf"/threads/({_ID.pattern})(/|$)", exchange.path)
        if match and match[1] not in seen:
            seen.add(match[1])
            yield match[1]
