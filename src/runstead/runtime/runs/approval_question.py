"""Questions with a deadline: `approval`, which graphs call in place of LangGraph's `interrupt`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from langgraph.types import interrupt

from .approvals import RULES, ApprovalRules, InvalidApprovalRules

_NO_DEFAULT: Final = object()


def approval(
    question: Any,
    *,
    deadline: timedelta | datetime | float | None = None,
    remind_after: timedelta | float | None = None,
    escalate_after: timedelta | float | None = None,
    escalate_to: str | None = None,
    default: Any = _NO_DEFAULT,
    response_schema: Any = None,
) -> Any:
    """Ask a person, wait for the answer, and return it. Like ``interrupt(question)``, and with a deadline if one is
    given.

    Call it in a node or a tool. Numbers are seconds after the question. At the deadline, the answer is ``default``;
    without one, the approval expires. ``escalate_to`` is the user who may answer too from then on, or the URL of a
    webhook that is called. What is not given here follows the rules of the graph, from the settings.

    Clients see the rules as the key ``$approval`` of the interrupt's value, next to the keys of a question that is an
    object; any other question is the key ``question`` of that value. Raises InvalidApprovalRules.
    """
    given: dict[str, Any] = {
        "deadline": deadline.isoformat() if isinstance(deadline, datetime) else _seconds(deadline),
        "remind_after": _seconds(remind_after),
        "escalate_after": _seconds(escalate_after),
        "escalate_to": escalate_to,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if default is not _NO_DEFAULT:
        given["default"] = default
    rules = ApprovalRules.parse(given)
    if rules.has_default and "deadline" not in given:
        raise InvalidApprovalRules("default: is the answer at the deadline; give a deadline too")
    if escalate_to is None and escalate_after is not None:
        raise InvalidApprovalRules("escalate_after: say to whom with escalate_to")
    value = question
    if given:
        value = {**question} if isinstance(question, Mapping) else {"question": question}
        value[RULES] = given
    return interrupt(value) if response_schema is None else interrupt(value, response_schema=response_schema)


def _seconds(time: timedelta | datetime | float | None) -> float | None:
    if isinstance(time, timedelta):
        return time.total_seconds()
    assert not isinstance(time, datetime)
    return time
