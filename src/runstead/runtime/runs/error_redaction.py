"""Redaction of error texts for clients. Texts of other errors may contain hosts, paths, keys or database rows.

An error that an agent's author raises is meant for its user. An error from a library is meant for the author, who finds
its full text in the log with the run's id.
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

_SHOWN: Final[tuple[type[BaseException], ...]] = (
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
"""Includes all subclasses, and so GraphRecursionError and most errors that are raised on purpose."""

_CALL: Final = re.compile(r"(\w+)\(")


@dataclass(frozen=True, slots=True)
class ErrorRedactor:
    """Error texts as clients see them. ``shows_all``: expose full error texts (development only)."""

    show_all: bool = False

    def message(self, error: BaseException) -> str:
        """Return the text of ``error`` for clients."""
        if isinstance(error, StorageFault) and not self.show_all:
            return error.public_message
        return describe(error) if self.show_all or isinstance(error, _SHOWN) else MASKED

    def class_and_message(self, error: BaseException) -> str:
        """Return the class of ``error``, with its text for clients."""
        return f"{type(error).__name__}: {self.message(error)}"

    def task_error(self, error: object) -> str:
        """Return the error of a task in a state, in the form that clients know: the class, with the text in
        parentheses.

        An error from a checkpoint already has that form, and only the name of its class is known.
        """
        if isinstance(error, BaseException):
            return f"{type(error).__name__}({self.message(error)!r})"
        name = found.group(1) if (found := _CALL.match(text := str(error))) else ""
        return text if self.show_all or _is_shown(name) else f"{name or 'Error'}({MASKED!r})"

    def redact(self, error: object) -> object:
        """Return an error inside an event; an exception becomes its class and text."""
        if isinstance(error, BaseException):
            return {"error": type(error).__name__, "message": self.message(error)}
        return self.task_error(error) if isinstance(error, str) else error


def _is_shown(name: str) -> bool:
    kind = getattr(builtins, name, None) or getattr(graph_errors, name, None)
    return name == ToolException.__name__ or (isinstance(kind, type) and issubclass(kind, _SHOWN))


REDACTING: Final = ErrorRedactor()
