"""Retries with growing pauses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


class Backoff(Iterator[float]):
    """Pauses in seconds before each retry; the last one repeats. Reset it after a success.

    ``failures``: the number of pauses since the last success.
    """

    def __init__(self, pauses: Sequence[float]) -> None:
        self._pauses = pauses
        self.failures = 0

    def __next__(self) -> float:
        pause = self._pauses[min(self.failures, len(self._pauses) - 1)]
        self.failures += 1
        return pause

    def reset(self) -> None:
        self.failures = 0


def exponential(first: float, failures: int, at_most: float) -> float:
    """Return the pause in seconds after a number of failures: ``first`` after one, and twice the last one after
    each further failure."""
    return float(min(first * 2.0 ** min(failures - 1, 30), at_most))


async def retry(
    work: Callable[[], Awaitable[T]],
    pauses: Sequence[float],
    sleep: Callable[[float], Awaitable[None]],
    failed: Callable[[Exception], None],
) -> T:
    """Return the result of ``work``, repeated until it succeeds.

    ``failed`` is called with each error: it logs the error, or raises it if no retry can help.
    """
    backoff = Backoff(pauses)
    while True:
        try:
            return await work()
        except Exception as error:
            failed(error)
        await sleep(next(backoff))
