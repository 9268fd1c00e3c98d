"""Where the files of a thread lie: ``{root}/{tenant}/{user}/threads/{thread}/...``.

Ids come from outside. Each becomes exactly one harmless name, two ids never the same one, also where a file system
knows no upper case; and what a path leads to in the end must lie inside the root. What the files hold is not known
here.
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
"""Names that mean devices on Windows."""


class PathOutsideRoot(Exception):
    """A path leads out of the folder that it belongs to, by way of a link somebody put there."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path, self.root = path, root
        super().__init__(f"{path} leads out of {root}; remove the link, or set the data folder to where it leads")


def path_name(identifier: str) -> str:
    """An id as the name of one file or folder. A plain id (``uuid``, ``bob@example.com``) stays as it is.

    Any other is made legible and gets its hash behind a tilde, which no plain id contains.
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
        """The folder of a thread of ``owner``'s. Touches no disk; follow it with `check` before using it."""
        return self.of_names(path_name(owner.tenant_id), path_name(owner.user_id), thread_id)

    def of_names(self, tenant: str, user: str, thread_id: ThreadId) -> Path:
        """The same, of an owner whose ids have been made names already."""
        return self.root / tenant / user / "threads" / path_name(thread_id)

    def check(self, path: Path) -> Path:
        """``path`` itself, if what it leads to lies inside the root. Raises PathOutsideRoot. Reads the disk."""
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise PathOutsideRoot(path, self.root)
        return path
