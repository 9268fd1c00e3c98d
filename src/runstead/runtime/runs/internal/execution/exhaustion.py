"""Classification of failures that are the worker's and not the run's: a full disk, no file descriptors, no
memory, a missing key."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final

from runstead.runtime.storage_fault import StorageFault

_NO_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE)
_DEPTH: Final = 50


def is_exhaustion(error: BaseException | None) -> bool:
    """Return whether ``error``, or one of its causes, says that the machine ran out of resources.

    A full disk counts only if the storage reported it: agent code may write to a disk of its own.
    """
    return any(
        each.kind == "full"
        if isinstance(each, StorageFault)
        else isinstance(each, OSError) and each.errno in _NO_DESCRIPTORS
        for each in _chain(error)
    )


def out_of_memory(error: BaseException | None) -> bool:
    """Return whether ``error``, or one of its causes, says that the process could not allocate memory."""
    return any(isinstance(each, MemoryError) for each in _chain(error))


def lacks_key(error: BaseException | None) -> bool:
    """Return whether ``error``, or one of its causes, says that stored data needs a key which this process lacks."""
    return any(isinstance(each, StorageFault) and each.kind == "keyless" for each in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    waiting = [] if error is None else [error]
    for _ in range(_DEPTH):
        if not waiting:
            return
        each = waiting.pop()
        yield each
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
        if (cause := each.__cause__ or (None if each.__suppress_context__ else each.__context__)) is not None:
            waiting.append(cause)
