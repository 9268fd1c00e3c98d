"""Memory limit for the bytes that a process holds for its clients."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from runstead.runtime.byte_budget import MIB, ByteBudget
from runstead.settings import Settings

_PART: Final = 64
"""A JSON body takes about 25 times its size while it is parsed, stored and executed."""
_UNKNOWN: Final = 4096 * MIB
_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Memory limits of a container, in version 2 and version 1 of cgroups."""


def bytes_in_flight(settings: Settings) -> int:
    """Return the limit in the settings, or one that fits the memory of the process."""
    if settings.memory_in_flight_bytes is not None:
        return settings.memory_in_flight_bytes
    return max(usable_memory() // _PART, settings.max_body_bytes)


def byte_budget(settings: Settings) -> ByteBudget:
    """Return the budget for request bodies and responses."""
    limit = bytes_in_flight(settings)
    return ByteBudget(limit, settings.memory_in_flight_user_bytes or limit // 2)


def usable_memory(limits: tuple[Path, ...] = _LIMITS) -> int:
    """Return the bytes that the process may use: those of the machine, or of its container."""
    found = [_of_machine()]
    for limit in limits:
        try:
            text = limit.read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            found.append(int(text))
    return min(found)


def _of_machine() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        # Windows has no sysconf.
        return _UNKNOWN
