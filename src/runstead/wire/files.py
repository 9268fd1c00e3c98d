"""Files on the wire: entries, content types, and ranges of a download."""

from __future__ import annotations

import mimetypes
import re
from typing import Final
from urllib.parse import quote

from runstead.runtime.json_types import JsonObject
from runstead.workspace import FileEntry

from .errors import WireError

_INLINE: Final = re.compile(r"image/(?:png|jpeg|gif|webp|avif)|audio/[\w.+-]+|video/[\w.+-]+|text/plain")
"""Types that a browser only shows. Any other one is downloaded: HTML, SVG, XML and PDF can contain code."""
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class RangeNotSatisfiable(WireError):
    """The range begins behind the end of the file."""

    status = 416

    def __init__(self, size: int) -> None:
        super().__init__(f"The range is outside of the file, which has {size} bytes")
        self.headers = {"content-range": f"bytes */{size}"}  # type: ignore[misc]


def from_file_entry(entry: FileEntry) -> JsonObject:
    return {
        "path": entry.path,
        "size": entry.size,
        "modified_at": entry.modified_at,
        "media_type": media_type(entry.path),
    }


def media_type(path: str) -> str:
    """Return the type by the ending of the name."""
    return mimetypes.guess_type(path)[0] or "application/octet-stream"


def download_headers(entry: FileEntry) -> dict[str, str]:
    """Return the headers of a download, with which no browser executes anything in it."""
    kind, name = media_type(entry.path), entry.path.rpartition("/")[2]
    disposition = "inline" if _INLINE.fullmatch(kind) else "attachment"
    return {
        "content-type": f"{kind}; charset=utf-8" if kind.startswith("text/") else kind,
        "content-disposition": f"{disposition}; filename*=utf-8''{quote(name, safe='')}",
        "content-security-policy": "sandbox; default-src 'none'",
        "x-content-type-options": "nosniff",
        "cache-control": "private, no-cache",
        "accept-ranges": "bytes",
        "etag": entry.etag,
    }


def range_of(header: str | None, if_range: str | None, entry: FileEntry) -> tuple[int, int] | None:
    """Return the first position and the length that a request asks for; None for the whole file.

    Several ranges, and ranges of another version of the file, get the whole file. Raises RangeNotSatisfiable.
    """
    match = _RANGE.fullmatch((header or "").replace(" ", ""))
    if match is None or match[1] + match[2] == "" or if_range not in (None, entry.etag):
        return None
    if not match[1]:
        length = min(int(match[2]), entry.size)
        start = entry.size - length
    else:
        start = int(match[1])
        length = (min(int(match[2]) + 1, entry.size) if match[2] else entry.size) - start
        if match[2] and int(match[2]) < start:
            return None
    if length <= 0:
        raise RangeNotSatisfiable(entry.size)
    return start, length
