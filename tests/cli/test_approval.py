"""Answers typed at a terminal become the resume values that the graph expects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents.middleware.human_in_the_loop import DecisionType, _decision_schema
from langchain_core.tools import tool
from pydantic import TypeAdapter

from runstead.cli.approval import NotApprovable, approve_all, ask_about
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
def test_tool_call_is_approved_refused_or_edited(lines: list[str], decision: dict[str, Any]) -> None:
    assert answer(request(), *lines) == {"decisions": [decision]}


def test_only_allowed_decisions_are_offered() -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return ["e", "r", "forty-two"][len(asked) - 1]

    resume = ask_about([Interrupt("i", request("reject", "respond"))], ask)

    assert resume == {"decisions": [{"type": "respond", "message": "forty-two"}]}
    assert "y = " not in asked[0]
    assert "n = reject" in asked[0]


def test_request_of_one_call_is_answered_with_one_decision() -> None:
    value = {"type": "tool_approval", "name": "pay", "args": {}, "tool_call_id": "c"}
    assert answer(value, "y") == {"type": "approve"}


@pytest.mark.parametrize(
    ("lines", "value"),
    [(["y"], True), (["n"], False), (["e", "plain words"], "plain words"), (["e", '{"a": 1}'], {"a": 1})],
)
def test_other_interrupts_accept_any_answer(lines: list[str], value: Any) -> None:
    assert answer({"question": "really?"}, *lines) == value


def test_several_interrupts_are_resumed_by_their_ids() -> None:
    resume = ask_about([Interrupt("a", "first?"), Interrupt("b", "second?")], typing("y", "n"))
    assert resume == {"a": True, "b": False}


def test_approve_all_does_not_prompt() -> None:
    assert approve_all([Interrupt("a", request()), Interrupt("b", "sure?")]) == {
        "a": {"decisions": [{"type": "approve"}]},
        "b": True,
    }


@tool
def pay(number: str, amount: float) -> str:
    """Send a payment."""
    return f"paid {amount} for {number}"


def per_call(*allowed: DecisionType) -> Interrupt:
    """An interrupt of HumanInTheLoopMiddleware with ``interrupt_mode="per_call"``."""
    schema = TypeAdapter(_decision_schema(allowed, "pay", pay)).json_schema()
    value = {"type": "tool_approval", "tool_call_id": "c", "name": "pay", "args": ACTION["args"], "description": ""}
    return Interrupt("i", value, schema)


@pytest.mark.parametrize(
    ("allowed", "offered", "lines", "decision"),
    [
        (("approve", "reject"), "y = approve, n = reject: ", ["e", "y"], {"type": "approve"}),
        (("reject",), "n = reject: ", ["y", "n", ""], {"type": "reject"}),
        (("respond", "approve"), "y = approve, r = respond: ", ["r", "done"], {"type": "respond", "message": "done"}),
        (
            ("edit",),
            "e = edit: ",
            ["e", "", "7"],
            {"type": "edit", "edited_action": {"name": "pay", "args": {"number": "2041", "amount": 7}}},
        ),
    ],
)
def test_ask_about_offers_only_what_the_schema_of_a_call_allows(
    allowed: tuple[DecisionType, ...], offered: str, lines: list[str], decision: dict[str, Any]
) -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return lines[len(asked) - 1]

    assert ask_about([per_call(*allowed)], ask) == decision
    assert asked[0].endswith(offered)


def test_ask_about_asks_again_when_an_edit_breaks_the_schema() -> None:
    asked: list[str] = []
    lines = ["e", "", "seven", "e", "", "7"]

    def ask(question: str) -> str:
        asked.append(question)
        return lines[len(asked) - 1]

    edited = {"name": "pay", "args": {"number": "2041", "amount": 7}}
    assert ask_about([per_call("edit")], ask) == {"type": "edit", "edited_action": edited}
    assert asked[3].startswith("answer.edited_action.args.amount must be a number\n")


@pytest.mark.parametrize(
    ("schema", "lines", "value"),
    [
        ({"type": "boolean"}, ["y"], True),
        ({"const": True}, ["n", "y"], True),
        ({"enum": ["red", "blue"]}, ["green", "blue"], "blue"),
        ({"type": "string"}, ["2041"], "2041"),
        ({"type": "integer"}, ["seven", "7"], 7),
        ({"type": "object"}, ['{"a": 1}'], {"a": 1}),
    ],
)
def test_ask_about_accepts_only_answers_that_fit_the_schema(schema: Any, lines: list[str], value: Any) -> None:
    assert ask_about([Interrupt("i", "which?", schema)], typing(*lines)) == value


def test_approve_all_approves_calls_and_rejects_if_approval_is_not_allowed() -> None:
    assert approve_all([per_call("reject", "approve")]) == {"type": "approve"}
    assert approve_all([Interrupt("i", "sure?", {"type": "boolean"})]) is True
    for cannot in (
        per_call("reject"),
        Interrupt("i", request("reject", "respond")),
        Interrupt("i", "which?", {"type": "string"}),
    ):
        with pytest.raises(NotApprovable):
            approve_all([cannot])
