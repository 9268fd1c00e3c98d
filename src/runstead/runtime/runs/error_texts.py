"""Which errors' texts are told to clients. The others may hold what is nobody's business: hosts, paths, keys, rows.

An error that an agent's author raises says something to its user. One that comes out of a library says it to the
author, who finds it in the log, whole and with the run's id.
"""

from __future__ import annotations

import builtins
import re
from dataclasses import dataclass
from typing import Final

from langchain_core.tools import ToolException
from langgraph import errors as graph_errors

from runstead.runtime.serialization import describe
from runstead.runtime.storage_fault import StorageFault

from .exceptions import RunError

MASKED: Final = "An internal error occurred"

_TOLD: Final[tuple[type[BaseException], ...]] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    ToolException,
    graph_errors.GraphBubbleUp,
    graph_errors.InvalidUpdateError,
    graph_errors.EmptyInputError,
    graph_errors.TaskNotFound,
    RunError,
)
"""With all that inherit from them; so with GraphRecursionError, and with most of what is raised on purpose."""

_CALL: Final = re.compile(r"(\w+)\(")


@dataclass(frozen=True, slots=True)
class ErrorTexts:
    """``shows_all``: for who works on the agents, and reads the answers as well as the log."""

    shows_all: bool = False

    def of(self, error: BaseException) -> str:
        """The text of ``error``, as clients are told it."""
        if isinstance(error, StorageFault) and not self.shows_all:
            return error.told
        return describe(error) if self.shows_all or isinstance(error, _TOLD) else MASKED

    def named(self, error: BaseException) -> str:
        """The class of ``error``, and its text as clients are told it."""
        return f"{type(error).__name__}: {self.of(error)}"

    def of_task(self, error: object) -> str:
        """An error of a task in a state, in the form that clients know: the class, and the text in brackets.

        What comes out of a checkpoint is that form already, and its class is known by its name alone.
        """
        if isinstance(error, BaseException):
            return f"{type(error).__name__}({self.of(error)!r})"
        name = found.group(1) if (found := _CALL.match(text := str(error))) else ""
        return text if self.shows_all or _is_told(name) else f"{name or 'Error'}({MASKED!r})"

    def shown(self, error: object) -> object:
        """An error inside of an event: one that was raised becomes class and text."""
        if isinstance(error, BaseException):
            return {"error": type(error).__name__, "message": self.of(error)}
        return self.of_task(error) if isinstance(error, str) else error


def _is_told(name: str) -> bool:
    kind = getattr(builtins, name, None) or getattr(graph_errors, name, None)
    return name == ToolException.__name__ or (isinstance(kind, type) and issubclass(kind, _TOLD))


MASKING: Final = ErrorTexts()
