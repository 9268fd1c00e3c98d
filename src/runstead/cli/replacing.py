"""Replaces this process by a new one of the same command, which serves on the same socket."""

from __future__ import annotations

import logging
import os
import sys
from typing import Final, NoReturn

AFTER_RELOAD: Final = "--after-reload"
"""Says that the process before this one was ended for new code, and not by a run."""


def replace_process(
    *, socket_fd: int | None = None, parent_fd: int | None = None, failure_fd: int | None = None
) -> NoReturn:
    """Start this process's command anew in its place: same id, same parent, nothing of its memory or threads.

    What comes to the socket in the meantime waits there.
    """
    command = [sys.executable, "-m", "runstead.cli", *(word for word in sys.argv[1:] if word != AFTER_RELOAD)]
    if socket_fd is not None:
        os.set_inheritable(socket_fd, True)
        # The last one counts, if there was one already.
        command += ["--socket-fd", str(socket_fd)]
    for kept in (parent_fd, failure_fd):
        if kept is not None:
            os.set_inheritable(kept, True)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, command)
