"""Stream of a run as a test reads it: nodes, calls of tools, tokens and texts in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from runstead.runtime.json_types import JsonMapping, JsonObject

_SHOWN: Final = 100


class StreamedEvent(Protocol):
    """An event as the SDK returns it."""

    @property
    def event(self) -> str: ...
    @property
    def data(self) -> object: ...
    @property
    def id(self) -> str | None: ...


class ToolCall(NamedTuple):
    """One call of a tool by the model."""

    name: str
    args: JsonMapping


@dataclass(slots=True)
class RecordedStream:
    """Events of one run in order. As text, it is a transcript of one line for each step."""

    parts: list[StreamedEvent] = field(default_factory=list)

    @property
    def events(self) -> list[str]:
        """Names of the events."""
        return [part.event for part in self.parts]

    @property
    def nodes(self) -> list[str]:
        """Names of the nodes of the graph, in the order in which they ended."""
        return [name for name, _ in self._updates()]

    @property
    def tool_calls(self) -> list[ToolCall]:
        """Calls of tools, in the order in which the model made them."""
        return [
            ToolCall(call["name"], call["args"])
            for _, update in self._updates()
            for message in _messages_of(update)
            for call in message.get("tool_calls") or ()
        ]

    @property
    def tokens(self) -> list[str]:
        """Pieces of text in the order in which models produced them."""
        return [text for part in self.parts if (text := _token(part))]

    @property
    def text(self) -> str:
        """All that models said, token by token."""
        return "".join(self.tokens)

    @property
    def custom(self) -> list[object]:
        """Data that the graph wrote with the stream writer."""
        return [part.data for part in self.parts if part.event.partition("|")[0] == "custom"]

    @property
    def gaps(self) -> list[object]:
        """Data of the ``gap`` events: a reader missed events there."""
        return [part.data for part in self.parts if part.event == "gap"]

    def assert_order(self, *names: str) -> None:
        """Check that nodes or tools of these names came in this order; others may be between them."""
        happened = list(self._names())
        rest = iter(happened)
        for name in names:
            if name not in rest:
                seen = ", ".join(happened) or "nothing"
                raise AssertionError(f"expected {', '.join(names)} in this order, but saw: {seen}\n{self}")

    def __str__(self) -> str:
        return "\n".join(self._lines()) or "no event"

    __repr__ = __str__

    def _names(self) -> Iterator[str]:
        for node, update in self._updates():
            yield node
            for message in _messages_of(update):
                yield from (call["name"] for call in message.get("tool_calls") or ())

    def _lines(self) -> Iterator[str]:
        for part in self.parts:
            match part.event.partition("|")[0]:
                case "updates" if isinstance(part.data, Mapping):
                    for node, update in part.data.items():
                        yield f"{node}: {_shown(update)}"
                case "error" | "custom" | "gap":
                    yield f"{part.event}: {_short(part.data)}"

    def _updates(self) -> Iterator[tuple[str, object]]:
        for part in self.parts:
            if part.event == "updates" and isinstance(part.data, Mapping):
                yield from ((name, update) for name, update in part.data.items() if name != "__interrupt__")


def _messages_of(update: object) -> Sequence[JsonObject]:
    found = update.get("messages") if isinstance(update, Mapping) else None
    several = found if isinstance(found, list) else [found]
    return [message for message in several if isinstance(message, dict)]


def _token(part: StreamedEvent) -> str:
    if part.event.partition("|")[0] != "messages" or not isinstance(part.data, list):
        return ""
    message = part.data[0]
    is_said = isinstance(message, Mapping) and str(message.get("type", "")).startswith(("ai", "AI"))
    return text_of(message.get("content")) if is_said else ""


def text_of(content: object) -> str:
    """Return the text of a message's content, which is a string or a list of blocks."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else ()
    return "".join(str(block.get("text", "")) for block in blocks if isinstance(block, Mapping))


def _shown(update: object) -> str:
    said = [
        ", ".join(f"{call['name']}({_short(call['args'])})" for call in message.get("tool_calls") or ())
        or _short(text_of(message.get("content")))
        for message in _messages_of(update)
    ]
    return "; ".join(said) or _short(update)


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
