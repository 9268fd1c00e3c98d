"""Checkpoints channel, and the time contained in a checkpoint's id."""

from __future__ import annotations

import uuid
from typing import Final

from runstead.runtime.json_types import JsonMapping

from .blocks import Data

_GREGORIAN: Final = 0x01B21DD213814000
"""Epoch of UUID times before that of Unix, in steps of 100 ns."""


def envelope(checkpoint_id: str, checkpoint: JsonMapping) -> Data:
    """Return the data of the checkpoints channel: enough to locate the checkpoint, and to start from it."""
    metadata = checkpoint.get("metadata") or {}
    made: Data = {"id": checkpoint_id}
    if (parent := checkpoint_id_of(checkpoint.get("parent_config"))) is not None:
        made["parent_id"] = parent
    return {**made, "step": metadata.get("step"), "source": metadata.get("source")}


def checkpoint_id_of(config: object) -> str | None:
    """Return the id of the checkpoint that a config names."""
    configurable = config.get("configurable") if isinstance(config, dict) else None
    found = configurable.get("checkpoint_id") if isinstance(configurable, dict) else None
    return found if isinstance(found, str) else None


def time_of(checkpoint_id: str) -> int | None:
    """Return the time of a checkpoint in milliseconds, which its id contains.

    Events get the time of the latest checkpoint before them, so that a client that has read the state can drop exactly
    the events that the state already includes.
    """
    try:
        found = uuid.UUID(checkpoint_id)
    except ValueError:
        return None
    if found.version != 6:
        return None
    steps = (found.int >> 80) << 12 | (found.int >> 64) & 0x0FFF
    return (steps - _GREGORIAN) // 10_000
