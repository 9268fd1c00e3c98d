"""Any JSON resume value is an answer: null and the empty object too."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.browser import Browser

VALUES: list[Any] = [None, {}, [], "", 0, False, "yes", {"a": 1}]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize(("graph", "field"), [("ask", "seen"), ("ask_below", "seen"), ("ask_functional", "answer")])
async def test_resume_value_answers_the_one_pending_question(
    browser: Browser, graph: str, field: str, value: Any
) -> None:
    thread = await browser.new_thread()
    assert "__interrupt__" in await browser.wait(thread, graph, {})
    answered = await browser.wait(thread, graph, None, command={"resume": value})
    assert (answered[field], "__interrupt__" in answered) == ([value], False)
    assert (await browser.get(thread))["status"] == "idle"


@pytest.mark.parametrize("value", [None, {}], ids=repr)
async def test_empty_answer_comes_with_an_update_and_at_a_checkpoint(browser: Browser, value: Any) -> None:
    thread = await browser.new_thread()
    await browser.wait(thread, "ask", {})
    checkpoint = (await browser.get(f"{thread}/state"))["checkpoint"]
    command = {"resume": value, "update": {"log": ["updated"]}}
    answered = await browser.wait(thread, "ask", None, command=command, checkpoint=checkpoint)
    assert answered == {"log": ["updated"], "seen": [value]}


@pytest.mark.parametrize("command", [{}, {"update": None}], ids=repr)
async def test_empty_command_answers_the_one_pending_question_with_null(browser: Browser, command: Any) -> None:
    """The Python SDK sends one for ``{"resume": None}``."""
    thread = await browser.new_thread()
    await browser.wait(thread, "ask", {})
    assert (await browser.wait(thread, "ask", None, command=command))["seen"] == [None]
    # No interrupt is pending.
    assert (await browser.wait(thread, "ask", None, command=command))["seen"] == [None]
    two = await browser.new_thread()
    await browser.wait(two, "pair", {})
    told = await browser.wait(two, "pair", None, command=command)
    assert "interrupt id" in told["__error__"]["message"]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("value", [None, {}], ids=repr)
async def test_empty_answer_to_two_interrupts_fails_and_names_the_remedy(
    browser: Browser, value: Any, strict: bool
) -> None:
    thread = await browser.new_thread()
    await browser.wait(thread, "pair", {})
    told = await browser.wait(thread, "pair", None, command={"resume": value}, strict_resume=strict)
    assert "interrupt id" in told["__error__"]["message"]
    state = await browser.get(f"{thread}/state")
    assert [interrupt["value"] for interrupt in state["interrupts"]] == ["a 1", "b 1"]


@pytest.mark.parametrize("value", [None, {}], ids=repr)
async def test_empty_answer_without_interrupts_has_no_effect_or_fails_if_strict(browser: Browser, value: Any) -> None:
    thread = await browser.new_thread()
    await browser.wait(thread, "ask", {})
    before = await browser.wait(thread, "ask", None, command={"resume": 1})
    assert await browser.wait(thread, "ask", None, command={"resume": value}) == before
    told = await browser.wait(thread, "ask", None, command={"resume": value}, strict_resume=True)
    assert told["__error__"]["error"] == "UnknownInterruptError"


async def test_empty_answer_is_given_by_the_event_protocol(browser: Browser) -> None:
    for method, params in (("input.respond", {}), ("run.start", {"assistant_id": "ask", "input": {}})):
        thread = await browser.new_thread()
        (interrupt,) = (await browser.wait(thread, "ask", {}))["__interrupt__"]
        named = {"interrupt_id": interrupt["id"], "response": {}} if method == "input.respond" else {}
        command = {"id": 1, "method": method, "params": {**params, **named}}
        run_id = (await browser.post(f"{thread}/commands", command))["result"]["run_id"]
        assert (await browser.get(f"{thread}/runs/{run_id}/join"))["seen"] == [{}]
