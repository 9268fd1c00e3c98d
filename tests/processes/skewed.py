"""Server processes whose wall clock is wrong. Monotonic clocks are unchanged."""

from __future__ import annotations

from typing import Final

_PROGRAM: Final = """
import datetime, time
AHEAD = {ahead}
real_time, real_time_ns, real_datetime = time.time, time.time_ns, datetime.datetime
class Kind(type):
    def __instancecheck__(cls, value):
        return isinstance(value, real_datetime)
class Skewed(real_datetime, metaclass=Kind):
    @classmethod
    def now(cls, tz=None):
        return real_datetime.now(tz) + datetime.timedelta(seconds=AHEAD)
    @classmethod
    def utcnow(cls):
        return real_datetime.utcnow() + datetime.timedelta(seconds=AHEAD)
time.time = lambda: real_time() + AHEAD
time.time_ns = lambda: real_time_ns() + int(AHEAD * 1_000_000_000)
datetime.datetime = Skewed
from runstead.cli.__main__ import main
main()
"""


def skewed(seconds: float) -> str:
    """The program of a ``runstead`` process whose wall clock is ``seconds`` ahead (behind, when negative)."""
    return _PROGRAM.format(ahead=seconds)
