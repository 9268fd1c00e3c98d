"""Replaces this process by a new one of the same command, which serves on the same socket."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn


def replace_process(*, socket_fd: int | None = None, parent_fd: int | None = None) -> NoReturn:
    """Start this process's command anew in its place: same id, same parent, nothing of its memory or threads.

    What comes to the socket in the meantime waits there.
    """
    command = [sys.executable, "-m", "runstead.cli", *sys.argv[1:]]
    if socket_fd is not None:
        os.set_inheritable(socket_fd, True)
        # The last one counts, if there was one already.
        command += ["--socket-fd", str(socket_fd)]
    if parent_fd is not None:
        os.set_inheritable(parent_fd, True)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, command)
