"""Strict parser of server-sent events: byte by byte, with strict JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn


@dataclass(frozen=True, slots=True)
class Frame:
    """One event as it was sent."""

    event: str
    data: str
    id: str | None

    @property
    def json(self) -> Any:
        return strict(self.data)


class FrameReader:
    """Collects bytes; a frame counts once its blank line has arrived."""

    def __init__(self) -> None:
        self._rest = b""
        self.last_id: str | None = None
        self.comments = 0

    def feed(self, data: bytes) -> list[Frame]:
        *blocks, self._rest = (self._rest + data).split(b"\r\n\r\n")
        frames = []
        for block in blocks:
            fields = [line.partition(": ") for line in block.decode("utf-8").split("\r\n")]
            known = {name: value for name, _, value in fields if name}
            self.comments += len(fields) - len(known)
            if "event" in known:
                assert set(known) <= {"event", "data", "id"}, f"a field that does not belong into a frame: {known}"
                frames.append(Frame(known["event"], known["data"], known.get("id")))
                self.last_id = known.get("id", self.last_id)
        return frames

    def cut(self) -> None:
        """Reset after a broken connection: half a frame is no frame."""
        self._rest = b""


def place_of(event_id: str) -> tuple[int, int]:
    """Return the sort key of an event id."""
    attempt, _, number = event_id.partition("-")
    return int(attempt), int(number)


def strict(text: str | bytes) -> Any:
    """Parse JSON without Python's extensions."""
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    value = json.loads(text, parse_constant=_refuse)
    # A lone surrogate is parsed, but cannot be written as UTF-8 again.
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
