"""Redaction of error texts in logs while a server encrypts: an agent's error may contain confidential data.

The class of an error and its traceback stay; so do texts of storage faults, which are for operators.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from runstead.runtime.storage_fault import StorageFault

_OURS: Final = "runstead."
_LEFT_OUT: Final = "(the text is not logged, since this server encrypts its data)"


@contextmanager
def errors_without_texts(enabled: bool) -> Iterator[None]:
    """Leave the texts of errors out of Runstead's log lines for the duration of a block, if ``enabled``."""
    if not enabled:
        yield
        return
    before = logging.getLogRecordFactory()

    def make(*args: object, **kwargs: object) -> logging.LogRecord:
        record = before(*args, **kwargs)
        if record.exc_info and record.name.startswith(_OURS):
            record.exc_info = _without_text(record.exc_info)
        return record

    logging.setLogRecordFactory(make)
    try:
        yield
    finally:
        if logging.getLogRecordFactory() is make:
            logging.setLogRecordFactory(before)


def _without_text(exc_info: Any) -> Any:
    kind, error, traceback = exc_info
    if error is None or isinstance(error, StorageFault):
        return exc_info
    # Its causes and notes have texts too, so they are all left out.
    named = type(kind.__name__, (Exception,), {"__module__": kind.__module__, "__qualname__": kind.__qualname__})
    return named, named(_LEFT_OUT), traceback
