"""A line typed at the terminal, which Ctrl-C ends at every moment."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def read_line(show_question: Callable[[], None]) -> str:
    """Show a question and return the line that is typed. Raises KeyboardInterrupt on Ctrl-C, EOFError on Ctrl-D.

    Blocks the calling thread, which must be the main one.
    """
    # asyncio handles Ctrl-C by cancelling a task, which a blocking prompt would never notice.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        show_question()
        if sys.platform != "win32" and sys.stdin.isatty():
            _wait_for_line()
        return input()
    finally:
        signal.signal(signal.SIGINT, before)


def _wait_for_line() -> None:
    # input() does not notice a signal that arrives just before it begins to read; select notices the byte of one.
    with _signal_bytes() as arrived:
        while sys.stdin not in select.select([sys.stdin, arrived], [], [])[0]:
            # Another signal than that of Ctrl-C, which has raised its exception.
            os.read(arrived, 4096)


@contextmanager
def _signal_bytes() -> Iterator[int]:
    """Yield a file descriptor that has a byte for each signal received within the block."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        os.close(reader)
        os.close(writer)
