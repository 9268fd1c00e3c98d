"""Texts of errors that clients get."""

from __future__ import annotations

from pathlib import Path

import pytest
from langgraph.errors import GraphRecursionError, InvalidUpdateError

from runstead.resources.storage_errors import StorageBusy, StorageError, StorageFull, StorageReadOnly
from runstead.runtime.runs.error_redaction import MASKED, REDACTING, ErrorRedactor
from runstead.runtime.runs.exceptions import AgentNotFound

ALL = ErrorRedactor(show_all=True)


class Refused(ValueError):
    """An author's own."""


class VendorError(Exception):
    """A library's."""


@pytest.mark.parametrize(
    "error",
    [
        ValueError("boom"),
        Refused("no"),
        KeyError("k"),
        TypeError("t"),
        RuntimeError("r"),
        GraphRecursionError("too deep"),
        InvalidUpdateError("u"),
        AgentNotFound("g"),
    ],
)
def test_exceptions_of_authors_are_shown(error: Exception) -> None:
    assert REDACTING.message(error) == str(error)


@pytest.mark.parametrize(
    "error", [VendorError("key sk-123 is wrong"), OSError("/etc/secret"), Exception("x"), ConnectionError("10.0.0.1")]
)
def test_exceptions_of_libraries_are_masked_unless_show_all(error: Exception) -> None:
    assert REDACTING.message(error) == MASKED == "An internal error occurred"
    assert ALL.message(error) == str(error)


@pytest.mark.parametrize("kind", [StorageFull, StorageReadOnly, StorageBusy])
def test_storage_errors_show_the_remedy_without_the_location(kind: type[StorageError]) -> None:
    error = kind(Path("/data/of/someone.db"))
    assert "someone" not in REDACTING.message(error)
    assert "again" in REDACTING.message(error)
    assert "someone" in ALL.message(error)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("boom"), "ValueError('boom')"),
        ("ValueError('boom')", "ValueError('boom')"),
        ("GraphRecursionError('deep')", "GraphRecursionError('deep')"),
        (VendorError("sk"), "VendorError('An internal error occurred')"),
        ("VendorError('sk')", "VendorError('An internal error occurred')"),
        ("OSError(2, 'No such file')", "OSError('An internal error occurred')"),
        ("unknown key sk-1", "Error('An internal error occurred')"),
    ],
)
def test_errors_of_tasks_in_a_state(error: object, text: str) -> None:
    assert REDACTING.task_error(error) == text
    assert ALL.task_error("VendorError('sk')") == "VendorError('sk')"
