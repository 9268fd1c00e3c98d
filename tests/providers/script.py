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
messages, ``{tool}`` the last tool result and ``{tools}`` all tool results since the last human message;
``{tag:NAME}`` is what the prompt has between ``<NAME>`` and ``</NAME>``. A script that is part of an object's string is
not read before a request carries that string as a message.

Tests can also hold answers from outside: `ScriptedAnswers.hold`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeVar

T = TypeVar("T")

_SCRIPT: Final = re.compile(r"<script>(.*)</script>", re.DOTALL)
_TOKEN: Final = re.compile(r"\s*\S+|\s+$")
_TAG: Final = re.compile(r"\{tag:(\w+)\}")
_WORD: Final = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of a request, independent of the provider."""

    role: Literal["human", "assistant", "tool"]
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request to a model. ``forced_tool`` is the tool that the model has to call."""

    provider: str
    model: str
    system: str
    messages: Sequence[PromptMessage]
    forced_tool: str | None = None

    @property
    def text(self) -> str:
        """The whole prompt as text."""
        return "\n".join([self.system, *(message.text for message in self.messages)])

    @property
    def digest(self) -> str:
        """A key that is equal for equal prompts."""
        return hashlib.sha256(f"{self.provider}\n{self.text}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool, with its parsed arguments."""

    id: str
    name: str
    arguments: dict[str, Any]


class Hold:
    """Holds the responses to prompts with a certain text, from the ``after``-th on, until released."""

    def __init__(self, text: str, after: int) -> None:
        self.text, self._left = text, after
        self._reached, self._released = threading.Event(), threading.Event()

    def applies_to(self, prompt: Prompt) -> bool:
        """Count the prompt if it has the text, and return True if its response is to be held."""
        if self.text not in prompt.text or self._released.is_set():
            return False
        self._left -= 1
        return self._left < 0

    async def pause(self) -> None:
        """Return once released."""
        self._reached.set()
        # Released by other threads, awaited on several loops.
        while not self._released.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def reached(self, seconds: float = 60) -> None:
        """Return once a response is held."""
        assert await asyncio.to_thread(self._reached.wait, seconds), f"no prompt with {self.text!r} was held"

    def release(self) -> None:
        """Release all, now and later."""
        self._released.set()


@dataclass(frozen=True, slots=True)
class Answer:
    """A model response: a text, tool calls, or both."""

    text: str = ""
    calls: Sequence[ToolCall] = ()
    pace: float = 0.0
    holds: str | None = None
    failure: tuple[int, int] | None = None
    """An error status, and the number of requests that get it."""
    hold: Hold | None = None
    """The response is held in the middle."""

    @property
    def tokens(self) -> list[str]:
        return _TOKEN.findall(self.text)

    async def whole(self) -> None:
        """Return when the response may be sent in one piece."""
        async for _ in self.paced([None]):
            pass

    async def paced(self, pieces: Sequence[T]) -> AsyncIterator[T]:
        """Yield the chunks to stream, at the response's pace."""
        for place, piece in enumerate(pieces):
            if self.hold is not None and place == len(pieces) // 2:
                await self.hold.pause()
            await asyncio.sleep(self.pace)
            yield piece


def answer_to(prompt: Prompt) -> Answer:
    """Return the response of the prompt's script for its turn."""
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
    for tag in _TAG.findall(found[1] if found else ""):
        inner = re.search(rf"<{tag}>(.*?)</{tag}>", prompt.text, re.DOTALL)
        names[f"{{tag:{tag}}}"] = inner[1] if inner else ""
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
            # A script inside belongs to the prompt that it becomes part of.
            script = _SCRIPT.search(value)
            start, end = script.span() if script else (len(value), len(value))
            before, after = value[:start], value[end:]
            for name, text in names.items():
                before, after = before.replace(name, text), after.replace(name, text)
            return before + value[start:end] + after
        case dict():
            return {key: _filled(each, names) for key, each in value.items()}
        case list():
            return [_filled(each, names) for each in value]
        case _:
            return value


@dataclass
class ScriptedAnswers:
    """Answers prompts, records them, and holds responses until released.

    The providers use it on their event loop, tests from other threads.
    """

    prompts: list[Prompt] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    _arrived: set[str] = field(default_factory=set)
    _released: set[str] = field(default_factory=set)
    _failures: Counter[str] = field(default_factory=Counter)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    async def answer(self, prompt: Prompt) -> Answer | int:
        """Return the response, or the error status that the script asks for."""
        answer = answer_to(prompt)
        self.prompts.append(prompt)
        for hold in self.holds:
            if hold.applies_to(prompt):
                answer = replace(answer, hold=hold)
        if answer.holds is not None:
            with self._changed:
                self._arrived.add(answer.holds)
                self._changed.notify_all()
            # Released by other threads, awaited on several loops.
            while answer.holds not in self._released:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        if answer.failure is not None:
            status, count = answer.failure
            self._failures[prompt.digest] += 1
            if self._failures[prompt.digest] <= count:
                return status
        return answer

    def hold(self, text: str, after: int) -> Hold:
        """Hold the responses to prompts that contain ``text`` in the middle, except for the first ``after`` of them."""
        self.holds.append(hold := Hold(text, after))
        return hold

    def asked(self, text: str) -> int:
        """Return the number of prompts that contained ``text``."""
        return sum(text in prompt.text for prompt in self.prompts)

    def wait_held(self, key: str, seconds: float = 60) -> None:
        """Return once a request is held under ``key``."""
        with self._changed:
            assert self._changed.wait_for(lambda: key in self._arrived, seconds), f"no request is held under {key!r}"

    def release(self, key: str) -> None:
        """Release the requests under ``key``, now and later."""
        self._released.add(key)


def embedding(text: str, dimensions: int = 64) -> list[float]:
    """Return a vector that is close to those of texts with the same words."""
    vector = [0.0] * dimensions
    for word in _WORD.findall(text.lower()):
        vector[int.from_bytes(hashlib.sha256(word.encode()).digest()[:4]) % dimensions] += 1
    length = math.sqrt(sum(each * each for each in vector)) or 1.0
    return [each / length for each in vector]
