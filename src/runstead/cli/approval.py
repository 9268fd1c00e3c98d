"""Interactive answers to interrupts: asks the person at the terminal, and converts the answer to the form that the
graph expects.

Supports the requests of LangChain's HumanInTheLoopMiddleware, for a whole turn or for each call. Other interrupts are
answered with true, false, or a value that is typed in. For an interrupt with a response_schema, only allowed answers
are offered.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from runstead.resources.response_schemas import choices, violation
from runstead.runtime.json_types import JsonMapping, JsonObject

from .transcript import Interrupt, compact

Ask: TypeAlias = Callable[[str], str]
"""Function that shows a question and returns the typed line."""

_USUAL: Final = ("approve", "edit", "reject")
"""Decisions that are allowed if a request names none."""


class NotApprovable(Exception):
    """The interrupt cannot be approved automatically."""

    def __init__(self, interrupt: Interrupt) -> None:
        super().__init__(
            f"interrupt {interrupt.interrupt_id} cannot be answered with a yes: {compact(interrupt.value)}"
        )


def approve_all(interrupts: Sequence[Interrupt]) -> object:
    """Return the resume value that approves all interrupts. Raises NotApprovable."""
    return _resume(interrupts, _approval)


def ask_about(interrupts: Sequence[Interrupt], ask: Ask) -> object:
    """Ask about each interrupt, and return the resume value."""
    return _resume(interrupts, lambda interrupt: _fitting(interrupt, ask))


def _resume(interrupts: Sequence[Interrupt], decide: Callable[[Interrupt], object]) -> object:
    if len(interrupts) == 1:
        return decide(interrupts[0])
    # With several pending interrupts, each answer names its interrupt.
    return {interrupt.interrupt_id: decide(interrupt) for interrupt in interrupts}


def _approval(interrupt: Interrupt) -> object:
    approve: JsonObject = {"type": "approve"}
    answer: Any = True
    match interrupt.value:
        case {"action_requests": list(actions)}:
            if not all("approve" in _allowed(interrupt.value, action) for action in actions):
                raise NotApprovable(interrupt)
            answer = {"decisions": [approve for _ in actions]}
        case {"type": "tool_approval"}:
            answer = approve
    if violation(answer, interrupt.response_schema) is not None:
        raise NotApprovable(interrupt)
    return answer


def _fitting(interrupt: Interrupt, ask: Ask) -> object:
    """Ask until the answer satisfies the interrupt's response_schema."""
    problem = ""

    def ask_again(question: str) -> str:
        nonlocal problem
        shown, problem = problem + question, ""
        return ask(shown)

    while True:
        answer = _decide(interrupt, ask_again)
        if (found := violation(answer, interrupt.response_schema)) is None:
            return answer
        problem = f"{found}\n"


def _decide(interrupt: Interrupt, ask: Ask) -> Any:
    value, schema = interrupt.value, interrupt.response_schema
    match value:
        case {"action_requests": list(actions)}:
            return {"decisions": [_decide_action(action, _allowed(value, action), ask) for action in actions]}
        case {"type": "tool_approval", "name": name, "args": args}:
            return _decide_action({"name": name, "args": args}, choices(schema, "type") or _USUAL, ask)
        case _:
            return _decide_freely(value, schema, ask)


def _allowed(request: JsonMapping, action: JsonMapping) -> Sequence[str]:
    for config in request.get("review_configs") or ():
        if config.get("action_name") == action.get("name"):
            return list(config.get("allowed_decisions") or ())
    return _USUAL


def _decide_action(action: JsonMapping, allowed: Sequence[str], ask: Ask) -> JsonObject:
    keys = {"y": "approve", "n": "reject", "e": "edit", "r": "respond"}
    offered = {key: decision for key, decision in keys.items() if decision in allowed}
    options = ", ".join(f"{key} = {decision}" for key, decision in offered.items())
    question = f"{action.get('name')} {compact(action.get('args'))}\n{options}: "
    match offered.get(_choose(question, offered, ask)):
        case "edit":
            return {"type": "edit", "edited_action": {"name": action.get("name"), "args": _edited(action, ask)}}
        case "reject":
            reason = ask("reason (may be empty): ").strip()
            return {"type": "reject", **({"message": reason} if reason else {})}
        case "respond":
            return {"type": "respond", "message": ask("answer in the tool's place: ")}
        case decision:
            return {"type": str(decision)}


def _edited(action: JsonMapping, ask: Ask) -> JsonObject:
    """Ask for each argument; an empty line keeps its value."""
    args = dict(action.get("args") or {})
    for name, value in args.items():
        if typed := ask(f"  {name} [{compact(value)}]: ").strip():
            args[name] = _parsed(typed, value)
    return args


def _parsed(typed: str, before: object) -> object:
    # A string stays a string, even if it consists of digits: an invoice number is not an amount.
    if isinstance(before, str):
        return typed
    try:
        return json.loads(typed)
    except (ValueError, RecursionError):
        return typed


def _decide_freely(value: object, schema: object, ask: Ask) -> object:
    answers = {key: answer for key, answer in (("y", True), ("n", False)) if _takes(answer, schema)}
    if not answers:
        return _typed(f"{compact(value)}\n", schema, ask)
    offered = ", ".join(f"{key} = {compact(answer)}" for key, answer in answers.items())
    key = _choose(f"{compact(value)}\n{offered}, e = enter an answer: ", (*answers, "e"), ask)
    return answers[key] if key in answers else _typed("", schema, ask)


def _takes(answer: bool, schema: object) -> bool:
    # Numbers accept booleans too, but yes is not a sensible answer to "how many?".
    kind = schema.get("type", "boolean") if isinstance(schema, Mapping) else "boolean"
    return "boolean" in kind and violation(answer, schema) is None


def _typed(question: str, schema: object, ask: Ask) -> object:
    typed = ask(f"{question}answer (JSON or text): ")
    answer = _parsed(typed, None)
    is_text = violation(answer, schema) is not None and violation(typed, schema) is None
    return typed if is_text else answer


def _choose(question: str, keys: Sequence[str] | Mapping[str, str], ask: Ask) -> str:
    while (typed := ask(question).strip().lower()[:1]) not in set(keys):
        question = f"one of {', '.join(keys)}: "
    return typed
