"""Reader of a thread's runs, like any client, which records the messages that it assembles."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runstead.cli.transcript import Begun, Gap, Item, Noted, Returned, Said, Transcript
from runstead.runtime.json_types import JsonMapping, JsonObject

if TYPE_CHECKING:
    from langgraph_sdk.schema import StreamPart


@dataclass(slots=True)
class ThreadReader:
    """Reader of one thread. ``show`` receives every item as it arrives. ``state`` is set at the end, for the
    comparison."""

    thread_id: str
    show: Callable[[Item], None]
    transcript: Transcript = field(default_factory=Transcript)
    run_ids: list[str] = field(default_factory=list)
    tools: Counter[str] = field(default_factory=Counter)
    state: JsonMapping = field(default_factory=dict)
    _pieces: dict[str, list[str]] = field(default_factory=dict)
    _whole: list[str] = field(default_factory=list)

    async def read(self, stream: AsyncGenerator[StreamPart]) -> AsyncGenerator[Item]:
        """Read one run to its end, across interruptions of the connection."""
        self.transcript = self.transcript.next_run()
        async with aclosing(stream):
            async for part in stream:
                for item in self.transcript.feed(part.event, part.data):
                    self._remember(item)
                    self.show(item)
                    yield item
        self._finish_messages()

    def words_of(self, message: int) -> int:
        """Return the number of pieces of the n-th message of this run (from 0) that have arrived so far."""
        begun = list(self._pieces.values())
        return len(begun[message]) if len(begun) > message else 0

    @property
    def messages(self) -> list[str]:
        """All complete messages and tool results. A message that was cut off and started again counts once."""
        return self._whole

    def _remember(self, item: Item) -> None:
        match item:
            case Begun():
                self.run_ids += [item.run_id] if item.run_id not in self.run_ids else []
            case Said():
                self._pieces.setdefault(item.message_id, []).append(item.text)
            case Returned():
                self._finish_messages()
                self._whole.append(f"{item.name}: {item.text}")
            case Noted(source="custom", value={"tool": str(name)}):
                self.tools[name] += 1
            case Gap() | _:
                pass

    def _finish_messages(self) -> None:
        for message_id, pieces in self._pieces.items():
            # A model reports its usage with the last piece: a message without usage was cut off.
            if self.transcript.is_whole(message_id):
                self._whole.append("".join(pieces))
        self._pieces = {}


def without_ids(state: JsonMapping) -> list[JsonObject]:
    """Return the messages of a state without their ids, which are generated for every message."""
    return [{name: value for name, value in message.items() if name != "id"} for message in state.get("messages", [])]


def differences(one: ThreadReader, other: ThreadReader) -> Iterator[str]:
    """Yield the differences between two readers; none if they are equal."""
    if without_ids(one.state) != without_ids(other.state):
        yield "the final states differ"
    if one.messages != other.messages:
        yield f"the readers have put together different messages: {one.messages} and {other.messages}"
    if one.tools != other.tools:
        yield f"tools were executed a different number of times: {dict(one.tools)} and {dict(other.tools)}"
    if not one.state.get("messages"):
        yield "there is no final state to compare"
