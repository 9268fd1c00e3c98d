"""The checkpoints channel, and what a checkpoint's id tells of time."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from .blocks import Data

_GREGORIAN: Final = 0x01B21DD213814000
"""The epoch of UUID times, in steps of 100 ns before that of Unix."""


def envelope(checkpoint_id: str, checkpoint: Mapping[str, Any]) -> Data:
    """What the checkpoints channel tells: enough to place it, and to start from it."""
    metadata = checkpoint.get("metadata") or {}
    made: Data = {"id": checkpoint_id}
    if (parent := checkpoint_id_of(checkpoint.get("parent_config"))) is not None:
        made["parent_id"] = parent
    return {**made, "step": metadata.get("step"), "source": metadata.get("source")}


def checkpoint_id_of(config: Any) -> str | None:
    """The checkpoint that a config names."""
    configurable = config.get("configurable") if isinstance(config, dict) else None
    found = configurable.get("checkpoint_id") if isinstance(configurable, dict) else None
    return found if isinstance(found, str) else None


def time_of(checkpoint_id: str) -> int | None:
    """When a checkpoint was made, in milliseconds: its id is made of the time. Events are as old as the checkpoint that
    was the latest when they came, so that a client who has read the state drops exactly those that are in it already.
    """
    try:
        found = uuid.UUID(checkpoint_id)
    except ValueError:
        return None
    if found.version != 6:
        return None
    steps = (found.int >> 80) << 12 | (found.int >> 64) & 0x0FFF
    return (steps - _GREGORIAN) // 10_000
