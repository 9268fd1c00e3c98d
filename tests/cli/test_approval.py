"""Answers typed at a terminal become what the graph expects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runstead.cli.approval import approve_all, ask_about
from runstead.cli.transcript import Interrupt

ACTION = {"name": "pay", "args": {"number": "2041", "amount": 10.5}, "description": "Money leaves."}


def request(*allowed: str) -> dict[str, Any]:
    return {
        "action_requests": [ACTION],
        "review_configs": [{"action_name": "pay", "allowed_decisions": list(allowed)}] if allowed else [],
    }


def typing(*lines: str) -> Callable[[str], str]:
    left = list(lines)
    return lambda question: left.pop(0)


def answer(value: Any, *lines: str) -> Any:
    return ask_about([Interrupt("i", value)], typing(*lines))


@pytest.mark.parametrize(
    ("lines", "decision"),
    [
        (["y"], {"type": "approve"}),
        (["YES"], {"type": "approve"}),
        (["n", ""], {"type": "reject"}),
        (["n", "too much"], {"type": "reject", "message": "too much"}),
        (["", "what?", "y"], {"type": "approve"}),
        (
            ["e", "", "7"],
            {"type": "edit", "edited_action": {"name": "pay", "args": {"number": "2041", "amount": 7}}},
        ),
        (
            ["e", "99", "seven"],
            {"type": "edit", "edited_action": {"name": "pay", "args": {"number": "99", "amount": "seven"}}},
        ),
    ],
)
def test_a_tool_call_is_approved_refused_or_edited(lines: list[str], decision: dict[str, Any]) -> None:
    assert answer(request(), *lines) == {"decisions": [decision]}


def test_only_what_is_allowed_is_offered() -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return ["e", "r", "forty-two"][len(asked) - 1]

    resume = ask_about([Interrupt("i", request("reject", "respond"))], ask)

    assert resume == {"decisions": [{"type": "respond", "message": "forty-two"}]}
    assert "y = " not in asked[0]
    assert "n = reject" in asked[0]


def test_a_request_of_one_call_is_answered_with_one_decision() -> None:
    value = {"type": "tool_approval", "name": "pay", "args": {}, "tool_call_id": "c"}
    assert answer(value, "y") == {"type": "approve"}


@pytest.mark.parametrize(
    ("lines", "value"),
    [(["y"], True), (["n"], False), (["e", "plain words"], "plain words"), (["e", '{"a": 1}'], {"a": 1})],
)
def test_any_other_question_is_answered_freely(lines: list[str], value: Any) -> None:
    assert answer({"question": "really?"}, *lines) == value


def test_several_questions_are_answered_each_by_its_id() -> None:
    resume = ask_about([Interrupt("a", "first?"), Interrupt("b", "second?")], typing("y", "n"))
    assert resume == {"a": True, "b": False}


def test_yes_to_everything_asks_nobody() -> None:
    assert approve_all([Interrupt("a", request()), Interrupt("b", "sure?")]) == {
        "a": {"decisions": [{"type": "approve"}]},
        "b": True,
    }
