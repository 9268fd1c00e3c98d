"""Failures of the machine are distinguished from those of the run, at any depth of the exception chain."""

from __future__ import annotations

import errno

import pytest

from runstead.runtime.runs.internal.execution.exhaustion import is_exhaustion
from runstead.runtime.storage_fault import StorageFault

NO_DESCRIPTORS = OSError(errno.EMFILE, "Too many open files")


class Full(StorageFault):
    kind = "full"


class Away(StorageFault):
    kind = "away"


def wrapped(error: Exception, *, suppressed: bool = False) -> Exception:
    try:
        try:
            raise error
        except Exception:
            if suppressed:
                raise ValueError("another story") from None
            raise ConnectionError("cannot connect")  # noqa: B904
    except Exception as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, False),
        (NO_DESCRIPTORS, True),
        (OSError(errno.ENFILE, "Too many open files in system"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (OSError("without a number"), False),
        (Full(), True),
        (Away(), False),
        (wrapped(NO_DESCRIPTORS), True),
        (wrapped(Full()), True),
        (wrapped(NO_DESCRIPTORS, suppressed=True), False),
        (ExceptionGroup("two", [ValueError(), wrapped(NO_DESCRIPTORS)]), True),
        (ExceptionGroup("two", [ValueError(), KeyError()]), False),
    ],
)
def test_is_exhaustion_recognises_missing_machine_resources(error: Exception | None, expected: bool) -> None:
    assert is_exhaustion(error) is expected


def test_is_exhaustion_terminates_on_circular_causes() -> None:
    one, other = ValueError(), KeyError()
    one.__cause__, other.__cause__ = other, one
    assert not is_exhaustion(one)
