"""Rules of questions that no database could keep are refused, and ignored at the end of the run that asks."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import orjson
import pytest

from runstead.runtime.runs.approvals import NO_RULES, RULES, ApprovalRules, InvalidApprovalRules, questions_in


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"deadline": "9999-12-31T23:59:59-12:00"}, "deadline: .* seconds away; give a time that is closer"),
        ({"deadline": "0001-01-01T00:00:00+12:00"}, "deadline: .* seconds away"),
        ({"deadline": "9999-12-31T23:59:59"}, "deadline: .* seconds away"),
        ({"deadline": 10**400}, "deadline: must be more than 0 and at most"),
        ({"deadline": math.inf}, "deadline: must be more than 0 and at most"),
        ({"escalate_after": math.nan}, "escalate_after: must be more than 0 and at most"),
        ({"remind_after": -(10**400)}, "remind_after: must be more than 0 and at most"),
        ({"escalate_to": "b\0b"}, "escalate_to: must not contain the character NUL"),
        ({"escalate_to": "\ud800"}, "escalate_to: must not contain unpaired surrogates"),
        ({"escalate_to": "é" * 257}, "escalate_to: a user id has at most 512 bytes"),
    ],
)
def test_rules_outside_the_limits_are_refused(given: object, reason: str) -> None:
    with pytest.raises(InvalidApprovalRules, match=reason):
        ApprovalRules.parse(given)


def test_deadline_in_another_time_zone_is_kept_in_utc() -> None:
    rules = ApprovalRules.parse({"deadline": "2030-01-01T02:00:00+02:00", "escalate_to": "https://a.org/" + "x" * 999})
    assert rules.deadline == datetime(2030, 1, 1, tzinfo=UTC)
    assert rules.to_json()["deadline"] == "2030-01-01T00:00:00+00:00"


def test_question_with_a_deadline_that_no_calendar_has_is_asked_without_rules() -> None:
    value = {RULES: {"deadline": "9999-12-31T23:59:59-12:00"}}
    (question,) = questions_in(orjson.dumps({"task": [{"id": "x", "value": value}]}))
    assert question.rules == NO_RULES
