"""Replacement of this process by a new one with the same command and the same socket."""

from __future__ import annotations

import logging
import os
import sys
from typing import Final, NoReturn

AFTER_RELOAD: Final = "--after-reload"
"""Option that says that the previous process was ended for new code, not by a run."""


def replace_process(
    *, socket_fd: int | None = None, parent_fd: int | None = None, failure_fd: int | None = None
) -> NoReturn:
    """Start this process's command again in its place: same process id, same parent, but new memory and threads.

    Connections to the socket wait in the meantime.
    """
    command = [sys.executable, "-m", "runstead.cli", *(word for word in sys.argv[1:] if word != AFTER_RELOAD)]
    if socket_fd is not None:
        os.set_inheritable(socket_fd, True)
        # If the option occurs twice, the last one counts.
        command += ["--socket-fd", str(socket_fd)]
    for kept in (parent_fd, failure_fd):
        if kept is not None:
            os.set_inheritable(kept, True)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, command)
