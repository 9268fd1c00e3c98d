"""Refusal of further steps of an attempt whose lease has expired: another worker may be executing the run by then.

Writes are refused in any case. But an attempt learns of that only when it stores a state, and LangGraph executes the
next steps meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable

from langchain_core.callbacks import BaseCallbackHandler


class StepRefused(BaseException):
    """Raised in place of a step. Not derived from Exception, so that code of agents does not take it for a failure of
    the step. Not CancelledError either: LangGraph takes a cancelled step for one that has ended without a result."""


class StepGate(BaseCallbackHandler):
    """Gate before each node, model call and tool call of one attempt. Called on any thread.

    While ``is_open`` returns False, a step is refused with StepRefused, after ``on_refused`` was called.
    """

    run_inline = True

    def __init__(self, is_open: Callable[[], bool], on_refused: Callable[[], None]) -> None:
        self._is_open, self._on_refused = is_open, on_refused

    def on_chain_start(self, *_: object, **__: object) -> None:
        self._pass()

    def on_chat_model_start(self, *_: object, **__: object) -> None:
        self._pass()

    def on_llm_start(self, *_: object, **__: object) -> None:
        self._pass()

    def on_tool_start(self, *_: object, **__: object) -> None:
        self._pass()

    def _pass(self) -> None:
        if not self._is_open():
            self._on_refused()
            raise StepRefused
