"""Report of a failed start, from the server process to the process that started it."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Final

from .output import CommandError

_LONGEST: Final = 7_000
"""Maximum characters of either text: both fit into a pipe that is read only after the process has ended."""
_PIPE_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class StartFailure:
    """Error of a failed start, and its traceback in the user's code.

    ``by_storage``: the storage refused, such as a data directory in use; a change of the code does not help.
    """

    problem: str
    traceback: str
    by_storage: bool = False


@contextmanager
def reporting_failure(failure_fd: int | None) -> Iterator[None]:
    """Write the error that ends the block to this file descriptor; None writes nothing."""
    try:
        yield
    except Exception as error:
        if failure_fd is not None:
            os.set_blocking(failure_fd, False)
            os.write(failure_fd, json.dumps(asdict(_described(error)), ensure_ascii=False).encode("utf-8", "replace"))
        raise


def read_failure(failure_fd: int) -> StartFailure | None:
    """Return the report of an ended process, if there is one, and close the file descriptor."""
    os.set_blocking(failure_fd, False)
    try:
        written = os.read(failure_fd, _PIPE_BYTES)
    except BlockingIOError:
        # Another process, started by user code, still holds the other end.
        written = b""
    finally:
        os.close(failure_fd)
    return StartFailure(**json.loads(written)) if written else None


def _described(error: Exception) -> StartFailure:
    from runstead.graphs.modules import describe, is_user_code
    from runstead.resources.storage_errors import StorageError

    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    problem = error.problem if isinstance(error, CommandError) else describe(error)
    shown = traceback.TracebackException.from_exception(root)
    own = [number for number, frame in enumerate(shown.stack) if is_user_code(frame.filename)]
    if own:
        # Without the frames of Python's import system and of Runstead before it.
        del shown.stack[: own[0]]
    text = "".join(shown.format(chain=False))
    by_storage = isinstance(error, StorageError) or isinstance(error.__cause__, StorageError)
    return StartFailure(problem[:_LONGEST], text[-_LONGEST:], by_storage)
