"""Paths of files as clients write them: relative, with slashes, safe as names on every file system."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

MAX_PATH: Final = 1_000
MAX_NAME: Final = 200
"""Maximum bytes of a whole path, and of one name in it."""

_UNSAFE: Final = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]|[. ]$|^ ')
_DEVICE: Final = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])(?: *\..*)?", re.I
)
"""Names that Windows reserves for devices."""


class InvalidFilePath(Exception):
    """The path cannot be the path of a file; the text contains the reason."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"The path {path[:100]!r} {reason}")


def parts_in(path: str, folders: Collection[str]) -> tuple[str, ...]:
    """Return the names in the path of a file in one of ``folders``. Raises InvalidFilePath."""
    parts = parts_of(path)
    if parts[0] not in folders or len(parts) == 1:
        raise InvalidFilePath(path, f"has to name a file in {' or '.join(folders)}")
    return parts


def parts_of(path: str) -> tuple[str, ...]:
    """Return the names in a path such as ``uploads/a/b.txt``. Raises InvalidFilePath."""
    try:
        size = len(path.encode())
    except UnicodeEncodeError as error:
        raise InvalidFilePath(path, "contains half of a character (an unpaired surrogate)") from error
    if size > MAX_PATH:
        raise InvalidFilePath(path, f"has more than {MAX_PATH} bytes")
    parts = tuple(path.split("/"))
    for part in parts:
        if part in ("", ".", ".."):
            raise InvalidFilePath(path, "has to be relative, without empty parts, '.' and '..'")
        if _UNSAFE.search(part):
            raise InvalidFilePath(
                path,
                'contains a control character, a backslash or one of <>:"|?*, or a name that ends in a dot or blank',
            )
        if len(part.encode()) > MAX_NAME:
            raise InvalidFilePath(path, f"contains a name of more than {MAX_NAME} bytes")
        if _DEVICE.fullmatch(part):
            raise InvalidFilePath(path, "contains the name of a device; choose another name")
    return parts
