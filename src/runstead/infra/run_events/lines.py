"""Lines of an event file: encoding and decoding, the head of a line, and reading lines from either end.

The head can be parsed without decoding the rest of the line. Reading holds one line in memory at a time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final, cast

import orjson

from runstead.infra.encryption.cipher import Cipher
from runstead.infra.encryption.envelope import open_document, seal_document, sealed_bytes
from runstead.infra.encryption.keyless import NO_KEYS
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.store.event_store import RunEvent, RunEventCategory, StoredRunEvent
from runstead.runtime.runs.types import ThreadId
from runstead.runtime.serialization import encode

_CHUNK: Final = 64 * 1024
_SAID: Final = "encrypted"
_PURPOSE: Final = "run_events"
_EVENT: Final = re.compile(rb'\{"seq":([0-9]+),"more":([0-9]+),"category":"([a-z]+)","event_type":')
_MARK: Final = re.compile(rb'\{"last_seq":([0-9]+)\}')


@dataclass(frozen=True, slots=True)
class LineHead:
    """The beginning of an intact line. ``more`` lines of the same batch follow it. A mark has no category."""

    seq: int
    more: int
    category: str | None

    @property
    def is_mark(self) -> bool:
        return self.category is None


def event_line(seq: int, more: int, event: RunEvent, cipher: Cipher | None = None) -> bytes:
    """Return an event as strict JSON on one line. The head comes first and in this order: `head_of` relies on it.

    ``cipher`` encrypts the content and the metadata of the event.
    """
    said: JsonObject = {"metadata": dict(event.metadata), "content": event.content}
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
    """Return a mark, which records the highest number ever assigned when the line with that number is deleted."""
    return b'{"last_seq":%d}\n' % last_seq


def head_of(line: bytes) -> LineHead | None:
    """Return the head of a complete line; None if it is damaged."""
    if not line.endswith(b"}\n"):
        return None
    if match := _EVENT.match(line):
        return LineHead(int(match[1]), int(match[2]), match[3].decode())
    if match := _MARK.match(line):
        return LineHead(int(match[1]), 0, None)
    return None


def key_id_of(line: bytes, cipher: Cipher) -> str | None:
    """Return the id of the key that an intact line is encrypted with; empty if not encrypted, None for a mark."""
    value = orjson.loads(line)
    if "last_seq" in value:
        return None
    sealed = sealed_bytes(value.get(_SAID, ""))
    return "" if sealed is None else cipher.key_id_of(sealed)


def read_line(line: bytes, thread_id: ThreadId, cipher: Cipher | None = None) -> StoredRunEvent | None:
    """Return the event on a line; None for a damaged line or a mark. Raises CannotDecrypt."""
    try:
        value: JsonObject = orjson.loads(line)
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
    """Yield the lines before ``end``, first to last."""
    file.seek(0)
    place = 0
    while place < end and (line := file.readline()):
        place += len(line)
        yield line


def backward(file: BinaryIO, end: int) -> Iterator[bytes]:
    """Yield the lines before ``end``, last to first, beginning with the text after the last newline, if any."""
    parts: list[bytes] = []
    place = end
    while place > 0:
        size = min(_CHUNK, place)
        place -= size
        file.seek(place)
        pieces = _exactly(file, size).split(b"\n")
        # The newline belongs to the line before it, and a line may extend over many chunks.
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
