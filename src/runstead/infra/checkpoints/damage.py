"""Distinguish unreadable checkpoints from other failures, with an error that names the checkpoint and the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from runstead.resources.storage_errors import StorageError

_PARTS: Final = {"v": int, "id": str, "channel_values": dict, "channel_versions": dict, "versions_seen": dict}
"""The parts that every checkpoint has, in all versions of LangGraph."""


class CheckpointDamaged(StorageError):
    """A stored checkpoint is damaged, or names types that this version does not read."""

    kind = "damaged"

    def __init__(self, thread_id: str, checkpoint_id: str, problem: str) -> None:
        super().__init__(
            f"checkpoint {checkpoint_id} of thread {thread_id} cannot be read ({problem}); restore the database from "
            "a backup, or delete the thread"
        )


@contextmanager
def telling_damage(thread_id: str, checkpoint_id: str) -> Iterator[None]:
    """Raise CheckpointDamaged for errors of decoding, but not for a lack of memory or failing disks."""
    try:
        yield
    except (StorageError, MemoryError, OSError):
        raise
    except Exception as error:
        raise CheckpointDamaged(thread_id, checkpoint_id, f"{type(error).__name__}: {error}") from error


def check_parts(checkpoint: object) -> None:
    """Raise ValueError if ``checkpoint`` is not a checkpoint with all its parts."""
    if not isinstance(checkpoint, dict):
        raise ValueError(f"it is {type(checkpoint).__name__} and no object")
    for name, kind in _PARTS.items():
        if not isinstance(checkpoint.get(name), kind):
            raise ValueError(f"its {name!r} is missing, or of a wrong type")
