"""Lines of an event file: how an event is written as one, what is told from a line without reading all of it, and how
lines are read from either end without holding more than one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Final, cast

import orjson

from runstead.infra.encryption.cipher import Cipher
from runstead.infra.encryption.envelope import open_document, seal_document, sealed_bytes
from runstead.infra.encryption.keyless import NO_KEYS
from runstead.runtime.runs.store.event_store import RunEvent, RunEventCategory, StoredRunEvent
from runstead.runtime.serialization import encode

_CHUNK: Final = 64 * 1024
_SAID: Final = "encrypted"
_PURPOSE: Final = "run_events"
_EVENT: Final = re.compile(rb'\{"seq":([0-9]+),"more":([0-9]+),"category":"([a-z]+)","event_type":')
_MARK: Final = re.compile(rb'\{"last_seq":([0-9]+)\}')


@dataclass(frozen=True, slots=True)
class LineHead:
    """What a sound line begins with. ``more`` lines of the same batch follow it. A mark has no category."""

    seq: int
    more: int
    category: str | None

    @property
    def is_mark(self) -> bool:
        return self.category is None


def event_line(seq: int, more: int, event: RunEvent, cipher: Cipher | None = None) -> bytes:
    """An event as strict JSON on one line. The head comes first and in this order: `head_of` relies on it.

    ``cipher`` encrypts what the event says: its content and metadata.
    """
    said: dict[str, Any] = {"metadata": dict(event.metadata), "content": event.content}
    if cipher is not None:
        said = {_SAID: seal_document(cipher, encode(said).decode(), _PURPOSE)}
    rest = encode(
        {
            "category": event.category,
            "event_type": event.event_type,
            "run_id": event.run_id,
            "created_at": event.created_at.isoformat(),
            **said,
        }
    )
    return b'{"seq":%d,"more":%d,%b\n' % (seq, more, rest[1:])


def mark_line(last_seq: int) -> bytes:
    """Remembers the highest number ever given, when the line that bore it is deleted."""
    return b'{"last_seq":%d}\n' % last_seq


def head_of(line: bytes) -> LineHead | None:
    """The head of a complete line; None for one that is not sound."""
    if not line.endswith(b"}\n"):
        return None
    if match := _EVENT.match(line):
        return LineHead(int(match[1]), int(match[2]), match[3].decode())
    if match := _MARK.match(line):
        return LineHead(int(match[1]), 0, None)
    return None


def key_id_of(line: bytes, cipher: Cipher) -> str | None:
    """The id of the key that a sound line is encrypted with; empty for a line in the clear, None for a mark."""
    value = orjson.loads(line)
    if "last_seq" in value:
        return None
    sealed = sealed_bytes(value.get(_SAID, ""))
    return "" if sealed is None else cipher.key_id_of(sealed)


def read_line(line: bytes, thread_id: str, cipher: Cipher | None = None) -> StoredRunEvent | None:
    """The event on a line; None for a line that is damaged, and for a mark. Raises CannotDecrypt."""
    try:
        value: dict[str, Any] = orjson.loads(line)
        if _SAID in value:
            value |= orjson.loads(open_document(cipher or NO_KEYS, value[_SAID], _PURPOSE))
        event = RunEvent(
            run_id=value["run_id"],
            thread_id=thread_id,
            event_type=value["event_type"],
            category=cast(RunEventCategory, value["category"]),
            content=value["content"],
            created_at=datetime.fromisoformat(value["created_at"]),
            metadata=value["metadata"],
        )
        return StoredRunEvent(value["seq"], event)
    except (ValueError, KeyError, TypeError):
        return None


def forward(file: BinaryIO, end: int) -> Iterator[bytes]:
    """The lines before ``end``, first to last."""
    file.seek(0)
    place = 0
    while place < end and (line := file.readline()):
        place += len(line)
        yield line


def backward(file: BinaryIO, end: int) -> Iterator[bytes]:
    """The lines before ``end``, last to first; what stands behind the last newline, if anything, comes first of all."""
    parts: list[bytes] = []
    place = end
    while place > 0:
        size = min(_CHUNK, place)
        place -= size
        file.seek(place)
        pieces = _exactly(file, size).split(b"\n")
        # The newline belongs to the line before it, and a line may reach over many chunks.
        for piece in reversed(pieces[1:]):
            line = _joined(piece, parts)
            if line:
                yield line
            parts = [b"\n"]
        parts.append(pieces[0])
    if line := _joined(b"", parts):
        yield line


def _joined(first: bytes, parts: Sequence[bytes]) -> bytes:
    return first + b"".join(reversed(parts))


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise OSError(f"{os.fspath(file.name)} became shorter while it was read")
    return data
