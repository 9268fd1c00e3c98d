"""Questions of graphs that become approvals, and the rules that a question brings: deadline, reminder, escalation.

A rule is part of the interrupt's value, under the key `RULES`, so that any client sees it and any graph can set it.
Values without it, such as those of LangChain's HumanInTheLoopMiddleware, follow the rules of their graph.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

import orjson

from ..clock import SystemClock
from ..json_types import JsonMapping, JsonObject
from .interrupts import answers_of

_log = logging.getLogger(__name__)

RULES: Final = "$approval"
"""Key of an interrupt's value that holds the rules for its approval."""
UNNAMED: Final = ""
"""Key of an answer that names no interrupt, in `ApprovalAnswer.sealed`."""
_SECONDS: Final = ("deadline", "remind_after", "escalate_after")
_FIELDS: Final = frozenset((*_SECONDS, "escalate_to", "default"))
_LONGEST: Final = 10 * 366 * 86_400
_LONGEST_TARGET: Final = 2_048
_LONGEST_USER: Final = 512
"""Bytes of a user id: all databases can keep that many in an index."""

AnsweredBy: TypeAlias = Literal["user", "deadline"]


class InvalidApprovalRules(ValueError):
    """The rules of a question make no sense; the text names the field and the way out."""


@dataclass(frozen=True, slots=True)
class ApprovalRules:
    """When a question is repeated, passed on and closed. Times are seconds after the question was asked.

    ``deadline`` may be a point in time too. ``escalate_to`` is a user, or the URL of a webhook; without
    ``escalate_after``, the question is escalated with its reminder, or halfway to its deadline. ``default`` is the
    answer at the deadline, if ``has_default``; without one, the approval expires.
    """

    deadline: float | datetime | None = None
    remind_after: float | None = None
    escalate_after: float | None = None
    escalate_to: str | None = None
    has_default: bool = False
    default: Any = None

    @classmethod
    def parse(cls, given: object) -> ApprovalRules:
        """Return the rules in a JSON object. Raises InvalidApprovalRules."""
        if not isinstance(given, Mapping):
            raise InvalidApprovalRules("the rules of an approval must be an object")
        if unknown := sorted(str(name) for name in given if name not in _FIELDS):
            known = ", ".join(sorted(_FIELDS))
            raise InvalidApprovalRules(f"unknown field {unknown[0][:100]!r}; known fields are {known}")
        deadline, remind, escalate = (_time(name, given.get(name)) for name in _SECONDS)
        target = _target(given.get("escalate_to"))
        has_default = "default" in given
        # Only a deadline may be a point in time.
        assert not isinstance(remind, datetime)
        assert not isinstance(escalate, datetime)
        return cls(deadline, remind, escalate, target, has_default, given.get("default"))

    def to_json(self) -> JsonObject:
        """Return the rules as `parse` reads them; without what is not set."""
        deadline = self.deadline.isoformat() if isinstance(self.deadline, datetime) else self.deadline
        given = {
            "deadline": deadline,
            "remind_after": self.remind_after,
            "escalate_after": self.escalate_after,
            "escalate_to": self.escalate_to,
        }
        shown = {name: value for name, value in given.items() if value is not None}
        return {**shown, "default": self.default} if self.has_default else shown

    def over(self, usual: ApprovalRules) -> ApprovalRules:
        """Return these rules, with the ``usual`` ones where these say nothing."""
        has_default = self.has_default or usual.has_default
        return ApprovalRules(
            usual.deadline if self.deadline is None else self.deadline,
            usual.remind_after if self.remind_after is None else self.remind_after,
            usual.escalate_after if self.escalate_after is None else self.escalate_after,
            usual.escalate_to if self.escalate_to is None else self.escalate_to,
            has_default,
            self.default if self.has_default else usual.default,
        )

    def times(self, asked_at: datetime) -> ApprovalTimes:
        """Return the points in time for a question asked at ``asked_at``. Times at or after the deadline are left
        out."""
        deadline = self.deadline if isinstance(self.deadline, datetime) else _after(asked_at, self.deadline)
        remind, escalate = _after(asked_at, self.remind_after), _after(asked_at, self.escalate_after)
        if self.escalate_to is None:
            escalate = None
        elif escalate is None:
            escalate = remind or (deadline and asked_at + (deadline - asked_at) / 2)
        if deadline is not None:
            remind, escalate = (one if one is not None and one < deadline else None for one in (remind, escalate))
        return ApprovalTimes(deadline, remind, escalate)


@dataclass(frozen=True, slots=True)
class ApprovalTimes:
    """Points in time of one approval; None: never."""

    deadline: datetime | None = None
    remind: datetime | None = None
    escalate: datetime | None = None


NO_RULES: Final = ApprovalRules()


@dataclass(frozen=True, slots=True)
class GraphRules:
    """The usual rules by graph, and those of all other graphs. ``calls_webhooks``: a run's webhook is called for its
    approvals too."""

    by_graph: Mapping[str, ApprovalRules] = field(default_factory=dict)
    usual: ApprovalRules = NO_RULES
    calls_webhooks: bool = False

    def of(self, graph_id: str) -> ApprovalRules:
        return self.by_graph.get(graph_id, self.usual)


@dataclass(frozen=True, slots=True)
class PendingQuestion:
    """Interrupt that waits for an answer. ``content`` has its value and, if there is one, its response_schema.

    Both ``content`` and the default answer of ``rules`` may be encrypted by handlers.
    """

    interrupt_id: str
    content: JsonMapping
    rules: ApprovalRules = NO_RULES


@dataclass(frozen=True, slots=True)
class ApprovalAnswer:
    """Effect of a new run on approvals of its thread, if it is created.

    With ``approval_id``, the run is created only if this approval is open. ``decider`` answers, which may be another
    user than the run's. ``sealed`` are the run's answers by interrupt id, encrypted by handlers.
    """

    approval_id: str | None = None
    decider: str | None = None
    by: AnsweredBy = "user"
    comment: Any = None
    sealed: JsonMapping | None = None

    def with_sealed(self, sealed: JsonMapping, comment: object) -> ApprovalAnswer:
        return replace(self, sealed=sealed, comment=comment)

    def answers(self, resume: object, pending: Collection[str]) -> JsonObject:
        """Return the answers by interrupt: encrypted ones if there are any, otherwise those of ``resume``."""
        if self.sealed is None:
            return answers_of(resume, pending)
        if UNNAMED in self.sealed:
            return {next(iter(pending)): self.sealed[UNNAMED]} if len(pending) == 1 else {}
        return {key: value for key, value in self.sealed.items() if key in pending}


def questions_in(interrupts: bytes) -> tuple[PendingQuestion, ...]:
    """Return the questions in a thread's encoded interrupts. Rules that make no sense are logged, and ignored: a run
    does not fail for them."""
    found: JsonObject = orjson.loads(interrupts)
    return tuple(_question(one) for task in found.values() for one in task if one.get("id"))


def _question(interrupt: JsonMapping) -> PendingQuestion:
    value = interrupt.get("value")
    rules = NO_RULES
    if isinstance(value, Mapping) and RULES in value:
        try:
            rules = ApprovalRules.parse(value[RULES])
        except InvalidApprovalRules as error:
            _log.warning("the rules of interrupt %s are ignored: %s", interrupt["id"], error)
    content = {name: interrupt[name] for name in ("value", "response_schema") if interrupt.get(name) is not None}
    return PendingQuestion(str(interrupt["id"]), content, rules)


def is_address(target: str) -> bool:
    """Return whether something is escalated to a webhook, and not to a user."""
    return target.startswith(("http://", "https://", "/"))


def _target(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TARGET:
        raise InvalidApprovalRules("escalate_to: must be a user id, or the URL of a webhook")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise InvalidApprovalRules("escalate_to: must not contain unpaired surrogates") from error
    if "\0" in value:
        raise InvalidApprovalRules("escalate_to: must not contain the character NUL")
    if size > _LONGEST_USER and not is_address(value):
        raise InvalidApprovalRules(f"escalate_to: a user id has at most {_LONGEST_USER} bytes")
    return value


def _after(asked_at: datetime, seconds: float | None) -> datetime | None:
    return None if seconds is None else asked_at + timedelta(seconds=seconds)


def _time(name: str, value: object) -> float | datetime | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        # False for NaN too.
        if 0 < value <= _LONGEST:
            return float(value)
        raise InvalidApprovalRules(f"{name}: must be more than 0 and at most {_LONGEST} seconds")
    if name == "deadline" and isinstance(value, str):
        return _moment(value)
    wanted = "seconds, or a time in ISO 8601" if name == "deadline" else "seconds"
    raise InvalidApprovalRules(f"{name}: must be {wanted}")


def _moment(value: str) -> datetime:
    """Return a deadline in UTC that every database can keep."""
    out_of_range = f"deadline: {value[:100]!r} is more than {_LONGEST} seconds away; give a time that is closer"
    try:
        at = datetime.fromisoformat(value)
        at = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError as error:
        raise InvalidApprovalRules(out_of_range) from error
    except ValueError as error:
        raise InvalidApprovalRules(f"deadline: {value[:100]!r} is not a time in ISO 8601") from error
    if abs(at - SystemClock().now()) > timedelta(seconds=_LONGEST):
        raise InvalidApprovalRules(out_of_range)
    return at
