"""Scripts: the answers of the fake providers, written into the prompts that are sent to them.

A script stands between ``<script>`` and ``</script>`` in the system prompt or else in the last human message. Without
one, the answer is ``echo: `` and the human's text. Each line that answers is one turn; the turn of a request is the
number of assistant messages since the last human one, and the last turn is repeated:

    say TEXT            answer with TEXT
    json OBJECT         answer with OBJECT: as JSON, or as arguments of the tool that the request forces
    call NAME OBJECT    call a tool
    also NAME OBJECT    call another one in the same turn

Lines before a turn that belong to it:

    pace SECONDS        wait that long before every token of this turn
    hold KEY            do not answer before ``ScriptedAnswers.release(KEY)``
    fail STATUS COUNT   answer the first COUNT requests for this turn with an error status

In texts and in strings of objects ``{input}`` is the human's text without its script, ``{inputs}`` those of all human
messages, ``{tool}`` the last tool result and ``{tools}`` all tool results since the last human message. A script that
is part of an object's string is not read before a request carries that string as a message.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

_SCRIPT: Final = re.compile(r"<script>(.*)</script>", re.DOTALL)
_TOKEN: Final = re.compile(r"\s*\S+|\s+$")
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of a request, whichever provider it was written for."""

    role: Literal["human", "assistant", "tool"]
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request for an answer. ``forced_tool`` is the tool that the model has to call."""

    provider: str
    model: str
    system: str
    messages: Sequence[PromptMessage]
    forced_tool: str | None = None

    @property
    def text(self) -> str:
        """All that the model is asked to read."""
        return "\n".join([self.system, *(message.text for message in self.messages)])

    @property
    def digest(self) -> str:
        """Equal for equal prompts."""
        return hashlib.sha256(f"{self.provider}\n{self.text}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ToolCall:
    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says: a text, tool calls, or both."""

    text: str = ""
    calls: Sequence[ToolCall] = ()
    pace: float = 0.0
    holds: str | None = None
    failure: tuple[int, int] | None = None
    """An error status, and for how many requests it is answered."""

    @property
    def tokens(self) -> list[str]:
        return _TOKEN.findall(self.text)


def answer_to(prompt: Prompt) -> Answer:
    """Return the answer that the prompt's script has for its turn."""
    last_human = max((place for place, each in enumerate(prompt.messages) if each.role == "human"), default=-1)
    human = prompt.messages[last_human].text if last_human >= 0 else ""
    found = _SCRIPT.search(prompt.system) or _SCRIPT.search(human)
    answers = list(_answers(found[1])) if found else [Answer("echo: {input}")]
    said = sum(each.role == "assistant" for each in prompt.messages[last_human + 1 :])
    answer = answers[min(said, len(answers) - 1)]
    tools = [each.text for each in prompt.messages[last_human + 1 :] if each.role == "tool"]
    names = {
        "{input}": without_script(human),
        "{inputs}": " / ".join(without_script(each.text) for each in prompt.messages if each.role == "human"),
        "{tool}": tools[-1] if tools else "",
        "{tools}": "; ".join(tools),
    }
    calls = [
        ToolCall(
            f"call_{prompt.digest[:16]}{number}", call.name or prompt.forced_tool or "", _filled(call.arguments, names)
        )
        for number, call in enumerate(answer.calls)
    ]
    if calls and not calls[0].name:
        # The request asks for JSON and not for a tool.
        return replace(answer, text=json.dumps(calls[0].arguments), calls=())
    return replace(answer, text=_filled(answer.text, names), calls=calls)


def without_script(text: str) -> str:
    return _SCRIPT.sub("", text).strip()


def _answers(script: str) -> Iterator[Answer]:
    waiting = Answer()
    made: list[Answer] = []
    for line in filter(None, (line.strip() for line in script.splitlines())):
        word, _, rest = line.partition(" ")
        match word:
            case "pace":
                waiting = replace(waiting, pace=float(rest))
            case "hold":
                waiting = replace(waiting, holds=rest)
            case "fail":
                status, count = rest.split()
                waiting = replace(waiting, failure=(int(status), int(count)))
            case "also":
                made[-1] = replace(made[-1], calls=[*made[-1].calls, _call(rest)])
            case "say" | "call" | "json":
                text = rest.replace("\\n", "\n") if word == "say" else ""
                calls = [] if word == "say" else [_call(rest if word == "call" else f" {rest}")]
                made.append(replace(waiting, text=text, calls=calls))
                waiting = Answer()
            case _:
                raise ValueError(f"a script's line begins with say, call, also, json, pace, hold or fail: {line!r}")
    yield from made


def _call(text: str) -> ToolCall:
    name, _, arguments = text.partition(" ")
    return ToolCall("", name, json.loads(arguments or "{}"))


def _filled(value: Any, names: dict[str, str]) -> Any:
    match value:
        case str():
            for name, text in names.items():
                value = value.replace(name, text)
            return value
        case dict():
            return {key: _filled(each, names) for key, each in value.items()}
        case list():
            return [_filled(each, names) for each in value]
        case _:
            return value


@dataclass
class ScriptedAnswers:
    """Answers prompts, remembers them, and keeps those that hold until they are released.

    The providers use it on their event loop, tests from other threads.
    """

    prompts: list[Prompt] = field(default_factory=list)
    _arrived: set[str] = field(default_factory=set)
    _released: set[str] = field(default_factory=set)
    _failures: Counter[str] = field(default_factory=Counter)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    async def answer(self, prompt: Prompt) -> Answer | int:
        """Return the answer, or the status of the error that the script asks for."""
        answer = answer_to(prompt)
        self.prompts.append(prompt)
        if answer.holds is not None:
            with self._changed:
                self._arrived.add(answer.holds)
                self._changed.notify_all()
            # Released by other threads, waited for on several loops.
            while answer.holds not in self._released:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        if answer.failure is not None:
            status, count = answer.failure
            self._failures[prompt.digest] += 1
            if self._failures[prompt.digest] <= count:
                return status
        return answer

    def wait_held(self, key: str, seconds: float = 60) -> None:
        """Return once a request is held under ``key``."""
        with self._changed:
            assert self._changed.wait_for(lambda: key in self._arrived, seconds), f"no request is held under {key!r}"

    def release(self, key: str) -> None:
        """Let the requests under ``key`` be answered, now and later."""
        self._released.add(key)


def embedding(text: str, dimensions: int = 64) -> list[float]:
    """Return a vector that is near to those of texts with the same words."""
    vector = [0.0] * dimensions
    for word in _WORD.findall(text.lower()):
        vector[int.from_bytes(hashlib.sha256(word.encode()).digest()[:4]) % dimensions] += 1
    length = math.sqrt(sum(each * each for each in vector)) or 1.0
    return [each / length for each in vector]
