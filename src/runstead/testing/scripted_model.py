"""Chat model for tests: its replies, calls of tools and errors in order, token by token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Final, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage

from runstead.graphs.scripted import ScriptedChatModel

Reply: TypeAlias = str | AIMessage | Exception
"""A text, a message (see `tool_call`), or an error to raise."""

_IDS: Final = count(1)


def tool_call(name: str, /, **args: object) -> AIMessage:
    """Return a reply that calls a tool."""
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": f"call-{next(_IDS)}"}])


class ScriptedModel(ScriptedChatModel):
    """Chat model that gives ``replies`` in order, and repeats the last one after that; one token every ``delay``
    seconds.

    An error is raised once, in place of the reply that follows it; one without a following reply is raised always. The
    reply depends only on the messages so far: a run that is resumed gets the same one again, and each thread begins
    with the first. ``name``: name of the model in usage and prices.
    """

    def __init__(self, *replies: Reply, delay: float = 0.0, name: str = "scripted") -> None:
        super().__init__(script=ReplyScript(replies), delay=delay, model_name=name)

    @property
    def prompts(self) -> list[list[BaseMessage]]:
        """The messages of each call so far."""
        assert isinstance(self.script, ReplyScript)
        return self.script.prompts


class ReplyScript:
    """Script of a ScriptedModel: chooses the reply by the number of answers in the history."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        if not replies:
            raise ValueError('a scripted model needs a reply: ScriptedModel("Hello")')
        self.prompts: list[list[BaseMessage]] = []
        self._raised: Counter[tuple[tuple[str, str | None, str], ...]] = Counter()
        self._turns: list[tuple[list[Exception], AIMessage | None]] = []
        errors: list[Exception] = []
        for reply in replies:
            if isinstance(reply, Exception):
                errors.append(reply)
                continue
            self._turns.append((errors, AIMessage(reply) if isinstance(reply, str) else reply))
            errors = []
        if errors:
            self._turns.append((errors, None))

    def __call__(self, history: Sequence[BaseMessage]) -> AIMessage:
        """Return the next reply, or raise the error that comes before it."""
        self.prompts.append(list(history))
        said = sum(isinstance(message, AIMessage) for message in history)
        errors, reply = self._turns[min(said, len(self._turns) - 1)]
        key = tuple((message.type, message.id, message.text) for message in history)
        raised = self._raised[key]
        if reply is None:
            raise errors[min(raised, len(errors) - 1)]
        if said < len(self._turns) and raised < len(errors):
            self._raised[key] += 1
            raise errors[raised]
        return reply
