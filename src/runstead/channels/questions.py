"""Interrupts as questions in a chat: their text, their choices, and the answers that the graph expects. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from runstead.resources.interrupts import Interrupt
from runstead.resources.response_schemas import choices as schema_choices
from runstead.resources.response_schemas import violation
from runstead.runtime.json_types import JsonMapping, JsonObject

_USUAL: Final = ("approve", "edit", "reject")
_MAX_ARGUMENTS: Final = 1_500


@dataclass(frozen=True, slots=True)
class Choice:
    """Answer that a button gives."""

    label: str
    answer: Any


@dataclass(frozen=True, slots=True)
class Question:
    """Question of a graph. Without choices, the next message of the person is the answer."""

    interrupt_id: str
    text: str
    choices: tuple[Choice, ...] = ()
    response_schema: Any = None

    def answer_of(self, typed: str) -> object:
        """Return the answer that was typed: the number or label of a choice, or a free answer.

        Raises ValueError with the reason if it is none.
        """
        for number, choice in enumerate(self.choices, 1):
            if typed.strip().casefold() in (str(number), choice.label.casefold()):
                return choice.answer
        if self.choices:
            raise ValueError(", ".join(choice.label for choice in self.choices))
        answer = _parsed(typed, self.response_schema)
        if (problem := violation(answer, self.response_schema)) is not None:
            raise ValueError(problem)
        return answer

    def to_json(self) -> JsonObject:
        return {
            "id": self.interrupt_id,
            "text": self.text,
            "choices": [[choice.label, choice.answer] for choice in self.choices],
        }

    @classmethod
    def from_json(cls, value: JsonMapping) -> Question:
        return cls(value["id"], value["text"], tuple(Choice(label, answer) for label, answer in value["choices"]))


def question_of(interrupt: Interrupt) -> Question:
    """Return the question of an interrupt: an approval of LangChain's middleware, or any other value."""
    value, schema = interrupt.get("value"), interrupt.get("response_schema")
    text, choices = _asked(value, schema)
    fitting = tuple(choice for choice in choices if violation(choice.answer, schema) is None)
    return Question(str(interrupt["id"]), text, fitting, schema)


def _asked(value: Any, schema: Any) -> tuple[str, Sequence[Choice]]:
    match value:
        case {"action_requests": list(actions)} if actions:
            return "\n\n".join(_shown_action(action) for action in actions), _decisions(value, actions)
        case {"type": "tool_approval", "name": name, "args": args}:
            allowed = schema_choices(schema, "type") or _USUAL
            text = _shown_action({"name": name, "args": args})
            return text, [Choice(one.capitalize(), {"type": one}) for one in ("approve", "reject") if one in allowed]
        case _:
            return _shown(value), _choices_of(schema)


def _decisions(value: JsonMapping, actions: Sequence[JsonMapping]) -> list[Choice]:
    """Return the choices for all calls of an approval together: each call gets the same decision."""
    allowed = [_allowed(value, action) for action in actions]
    words = " all" if len(actions) > 1 else ""
    return [
        Choice(f"{kind.capitalize()}{words}", {"decisions": [{"type": kind} for _ in actions]})
        for kind in ("approve", "reject")
        if all(kind in one for one in allowed)
    ]


def _allowed(request: JsonMapping, action: JsonMapping) -> Sequence[str]:
    for config in request.get("review_configs") or ():
        if config.get("action_name") == action.get("name"):
            return list(config.get("allowed_decisions") or ())
    return _USUAL


def _choices_of(schema: Any) -> list[Choice]:
    if not isinstance(schema, Mapping):
        return []
    if schema.get("type") == "boolean":
        return [Choice("Yes", True), Choice("No", False)]
    options = schema.get("enum")
    return [Choice(_shown(one)[:40], one) for one in options] if isinstance(options, list) and len(options) <= 8 else []


def _shown_action(action: JsonMapping) -> str:
    name, arguments = action.get("name"), _shown(action.get("args") or action.get("arguments") or {})
    return f"{action.get('description') or f'May I call {name}?'}\n{name} {arguments}"


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_ARGUMENTS else text[:_MAX_ARGUMENTS] + "…"


def _parsed(typed: str, schema: object) -> object:
    """Return text as text, unless the interrupt's schema wants another type."""
    if violation(typed, schema) is None:
        return typed
    try:
        return json.loads(typed)
    except (ValueError, RecursionError):
        return typed
