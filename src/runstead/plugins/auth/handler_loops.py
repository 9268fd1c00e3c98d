"""Where auth handlers run: on event loops of their own, so that one that blocks stops neither server nor others.

All handlers share one loop, because the clients that an auth module caches are bound to the loop they were made on.
Only when that loop does not begin a call in time, which means that some handler blocks it, the next one gets the call.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from runstead.wire.errors import Unavailable

T = TypeVar("T")

_BEGIN_WITHIN: Final = 0.05
"""Seconds in which a loop that nobody blocks has begun a call."""
_ANSWER_WITHIN: Final = 60.0
_LOOPS: Final = 16


class HandlerLoops:
    """A few loops in threads, made when they are needed. Used from the server's loop."""

    def __init__(self, *, answer_within: float = _ANSWER_WITHIN) -> None:
        self._loops: list[_HandlerLoop] = []
        self._answer_within = answer_within

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What ``work`` returns, or raises. Raises Unavailable when it does not answer, or cannot even begin."""
        for place in range(_LOOPS):
            if place == len(self._loops):
                self._loops.append(_HandlerLoop(f"auth-handlers-{place + 1}"))
            call = self._loops[place].begin(work)
            if await _settles(call.begun, _BEGIN_WITHIN) or not call.withdraw():
                break
        else:
            raise Unavailable("All of this server's auth handlers are busy")
        if not await _settles(call.answer, self._answer_within):
            call.answer.cancel()
            raise Unavailable("This server's auth handler does not answer")
        answer: T = call.answer.result()
        return answer

    async def close(self) -> None:
        """Stop the loops. One that a handler blocks dies with the process."""
        loops, self._loops = self._loops, []
        for loop in loops:
            await asyncio.to_thread(loop.close)


class _Call:
    """One call on its way: ``begun`` when its loop has taken it up, and ``answer`` when it has ended."""

    def __init__(self) -> None:
        self.begun: Future[None] = Future()
        self.answer: Future[Any] = Future()
        self._taken = threading.Lock()

    def take(self) -> bool:
        """By the loop that begins it; False when it was withdrawn."""
        return self._taken.acquire(blocking=False)

    def withdraw(self) -> bool:
        """By the one who gave it; False when it has begun after all."""
        return self._taken.acquire(blocking=False)


class _HandlerLoop:
    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def begin(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> _Call:
        call = _Call()

        async def taken_up() -> Any:
            if not call.take():
                return None
            call.begun.set_result(None)
            try:
                return await work()
            except (SystemExit, KeyboardInterrupt) as error:
                # It would end the loop here, and the server where the call came from.
                raise RuntimeError(f"an auth handler raised {type(error).__name__}") from error

        call.answer = asyncio.run_coroutine_threadsafe(taken_up(), self._loop)
        return call

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=1)

    def _serve(self) -> None:
        self._loop.run_forever()
        self._loop.close()


async def _settles(future: Future[Any], seconds: float) -> bool:
    """Whether ``future`` is done within ``seconds``. Giving up the wait does not cancel it."""
    waiting = asyncio.wrap_future(future)
    # Its outcome is read from the future itself.
    waiting.add_done_callback(lambda done: None if done.cancelled() else done.exception())
    await asyncio.wait({waiting}, timeout=seconds)
    return future.done()
