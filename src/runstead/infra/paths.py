"""Paths of a thread's files: ``{root}/{tenant}/{user}/threads/{thread}/...``.

Ids come from outside the server. Each id maps to exactly one safe file name, and two ids never share a name, also on
case-insensitive file systems. The resolved path must lie inside the root. This module does not know the content of the
files.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import ThreadId

_PLAIN: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_.@+-]{0,78}[a-z0-9_@+-])?")
_RESERVED: Final = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?")
"""Names that Windows reserves for devices."""


class PathOutsideRoot(Exception):
    """A path leads out of its folder through a symbolic link."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path, self.root = path, root
        super().__init__(f"{path} leads out of {root}; remove the link, or set the data folder to where it leads")


def path_name(identifier: str) -> str:
    """Return the name of the file or folder for an id. A plain id (``uuid``, ``bob@example.com``) is its own name.

    Any other id becomes a readable name followed by a tilde, which no plain id contains, and the hash of the id.
    Raises ValueError for an empty id.
    """
    if not identifier:
        raise ValueError("an empty id cannot be a path")
    if _PLAIN.fullmatch(identifier) and not _RESERVED.fullmatch(identifier):
        return identifier
    digest = hashlib.sha256(identifier.encode("utf-8", "surrogatepass")).hexdigest()[:40]
    legible = re.sub(r"[^a-z0-9_-]+", "_", identifier[:200].lower())[:40].strip("_-")
    return f"{legible}~{digest}"


class ThreadPaths:
    """The folders of threads under one root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, owner: ActorContext, thread_id: ThreadId) -> Path:
        """Return the folder of a thread that ``owner`` owns. No disk access; call `check` before using the path."""
        return self.of_names(path_name(owner.tenant_id), path_name(owner.user_id), thread_id)

    def of_names(self, tenant: str, user: str, thread_id: ThreadId) -> Path:
        """Return the folder of a thread whose owner's ids have already been converted by `path_name`."""
        return self.root / tenant / user / "threads" / path_name(thread_id)

    def check(self, path: Path) -> Path:
        """Return ``path`` if it resolves to a place inside the root. Raises PathOutsideRoot. Reads the disk."""
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise PathOutsideRoot(path, self.root)
        return path
