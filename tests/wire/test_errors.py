"""Errors have a status and a sentence, and internals stay hidden."""

from __future__ import annotations

import errno
import inspect

import pytest

from runstead.resources import assistant_lookup, states, threads
from runstead.runtime.runs import exceptions, graph_access
from runstead.runtime.runs.exceptions import (
    AgentTimeout,
    CronMoved,
    IllegalTransition,
    LeaseLost,
    RollbackRequested,
    RunError,
    RunNotFound,
    RunNotRetriable,
    StateLost,
    ThreadBusy,
    ThreadNotFound,
)
from runstead.runtime.runs.types import RunId, RunStatus, ThreadId
from runstead.wire import errors
from runstead.wire.errors import MASKED, Problem, Unavailable, Unprocessable, problem_of, sentence_of


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (
            ThreadBusy([RunId("r")]),
            Problem(
                409,
                "Thread is already running a task. Wait for it to finish or choose a different multitask strategy.",
            ),
        ),
        (ThreadNotFound(ThreadId("t")), Problem(404, "Thread or assistant not found.")),
        (RunNotFound(RunId("r")), Problem(404, "Run with ID r not found")),
        (threads.ThreadExists(ThreadId("t")), Problem(409, "Thread with ID t already exists")),
        (
            RunNotRetriable(RunId("r"), RunStatus.SUCCESS),
            Problem(409, str(RunNotRetriable(RunId("r"), RunStatus.SUCCESS))),
        ),
        (Unprocessable("no"), Problem(422, "no")),
        (Unavailable("later"), Problem(503, "later", {"retry-after": "1"})),
        (
            AgentTimeout("g", 30),
            Problem(
                503,
                "The code of graph 'g' did not answer within 30 seconds; send the request again in a moment",
                {"retry-after": "1"},
            ),
        ),
        (RuntimeError("the password is x"), Problem(500, MASKED)),
    ],
)
def test_each_error_has_its_status_and_text(error: Exception, problem: Problem) -> None:
    assert problem_of(error) == problem


def test_every_error_a_caller_can_get_has_a_status() -> None:
    """Every error declared by the kernel and the resources has a mapping, or is internal."""
    internal = {RunError, LeaseLost, IllegalTransition, RollbackRequested, CronMoved, StateLost}
    declared = {
        kind
        for module in (exceptions, graph_access, assistant_lookup, states, threads)
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Exception) and kind.__module__ == module.__name__
    }
    assert declared - internal <= set(errors._KNOWN)


def test_validation_message_names_the_path_without_pydantic_internals() -> None:
    problem = {"type": "int_type", "loc": ("body", "config", "tags", 0), "msg": "Value error, bad"}
    assert sentence_of([problem]) == "config.tags.0: bad"


def test_missing_file_descriptors_are_a_503_and_other_system_errors_a_500() -> None:
    problem = problem_of(OSError(errno.EMFILE, "Too many open files"))
    assert (problem.status, problem.headers) == (503, {"retry-after": "1"})
    assert "no file descriptors left" in problem.detail
    assert problem_of(OSError(errno.ENOENT, "No such file")) == Problem(500, MASKED)
