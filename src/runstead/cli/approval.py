"""Ask the person at the terminal about an interrupt: y, n or e, and make the answer what the graph expects.

Knows the requests of LangChain's HumanInTheLoopMiddleware; any other interrupt is answered with
true, false, or a value that is typed in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from .transcript import Interrupt, compact

Ask: TypeAlias = Callable[[str], str]
"""Shows a question and returns the line that was typed."""


def approve_all(interrupts: Sequence[Interrupt]) -> Any:
    """The resume value that says yes to everything."""
    return _resume(interrupts, lambda interrupt: _decide(interrupt.value, lambda question: "y"))


def ask_about(interrupts: Sequence[Interrupt], ask: Ask) -> Any:
    """The resume value that a person gives, question by question."""
    return _resume(interrupts, lambda interrupt: _decide(interrupt.value, ask))


def _resume(interrupts: Sequence[Interrupt], decide: Callable[[Interrupt], Any]) -> Any:
    if len(interrupts) == 1:
        return decide(interrupts[0])
    # Several questions are open at once: each answer goes to the one it was given for.
    return {interrupt.interrupt_id: decide(interrupt) for interrupt in interrupts}


def _decide(value: Any, ask: Ask) -> Any:
    match value:
        case {"action_requests": list(actions)}:
            return {"decisions": [_decide_action(action, _allowed(value, action), ask) for action in actions]}
        case {"type": "tool_approval", "name": name, "args": args}:
            return _decide_action({"name": name, "args": args}, ("approve", "edit", "reject"), ask)
        case _:
            return _decide_freely(value, ask)


def _allowed(request: Mapping[str, Any], action: Mapping[str, Any]) -> Sequence[str]:
    for config in request.get("review_configs") or ():
        if config.get("action_name") == action.get("name"):
            return list(config.get("allowed_decisions") or ())
    return ("approve", "edit", "reject")


def _decide_action(action: Mapping[str, Any], allowed: Sequence[str], ask: Ask) -> dict[str, Any]:
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


def _edited(action: Mapping[str, Any], ask: Ask) -> dict[str, Any]:
    """Argument by argument; an empty line keeps what is there."""
    args = dict(action.get("args") or {})
    for name, value in args.items():
        if typed := ask(f"  {name} [{compact(value)}]: ").strip():
            args[name] = _parsed(typed, value)
    return args


def _parsed(typed: str, before: Any) -> Any:
    # A text stays a text, even one of digits: an invoice's number is no amount.
    if isinstance(before, str):
        return typed
    try:
        return json.loads(typed)
    except json.JSONDecodeError:
        return typed


def _decide_freely(value: Any, ask: Ask) -> Any:
    question = f"{compact(value)}\ny = true, n = false, e = enter an answer: "
    match _choose(question, ("y", "n", "e"), ask):
        case "y":
            return True
        case "n":
            return False
        case _:
            typed = ask("answer (JSON or text): ")
            return _parsed(typed, None)


def _choose(question: str, keys: Sequence[str] | Mapping[str, str], ask: Ask) -> str:
    while (typed := ask(question).strip().lower()[:1]) not in set(keys):
        question = f"one of {', '.join(keys)}: "
    return typed
