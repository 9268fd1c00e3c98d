"""Keys of files in a store: the owner's names, then the thread's name or the memory folder, then the path. Pure."""

from __future__ import annotations

from typing import Final

from runstead.infra.paths import path_name
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import ThreadId
from runstead.workspace import MEMORY, FileNotFound, InvalidFilePath, parts_of

_THREADS: Final = "threads"


def user_key(owner: ActorContext) -> str:
    """Return the key of the folder of a user."""
    return f"{path_name(owner.tenant_id)}/{path_name(owner.user_id)}"


def root_key(owner: ActorContext, thread_id: ThreadId | None) -> str:
    """Return the key to which paths of a thread, or of the owner's memory, are relative."""
    return user_key(owner) if thread_id is None else f"{user_key(owner)}/{_THREADS}/{path_name(thread_id)}"


def readable_parts(path: str, thread_id: ThreadId | None) -> tuple[str, ...]:
    """Return the names in the path of a file to read. Agents may write beside the folders of a thread.

    Raises InvalidFilePath, and FileNotFound for a path outside of a memory.
    """
    parts = parts_of(path)
    if thread_id is None and (parts[0] != MEMORY or len(parts) == 1):
        raise FileNotFound(path)
    return parts


def key_parts(key: str) -> tuple[str, ...]:
    """Return the names in the key of a stored file. Raises InvalidFilePath if no file can have this key."""
    parts = tuple(key.split("/"))
    head = 4 if parts[2:3] == (_THREADS,) else 2
    for name in parts[:head]:
        # A name that an id can have is a valid name of a file, and names nothing else.
        if len(parts_of(name)) != 1 or name.startswith("."):
            raise InvalidFilePath(key, "is not the key of a file")
    if len(parts) < head + 1 or (head == 2 and (parts[2] != MEMORY or len(parts) == 3)):
        raise InvalidFilePath(key, "is not the key of a file")
    return (*parts[:head], *parts_of("/".join(parts[head:])))
