"""Which of a run's events a reader wants: those of some stream modes, those of some namespaces. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from runstead.runtime.stream_bridge import Sentinel, StreamEvent, StreamItem

_ALWAYS: Final = frozenset({"metadata", "error", "gap"})
"""Events that no choice hides."""


@dataclass(frozen=True, slots=True)
class StreamChoice:
    """``modes`` and ``namespaces``, each None for all. A namespace is what stands behind an event's name; the root's is
    empty, and each is meant without those below it.
    """

    modes: Collection[str] | None = None
    namespaces: Collection[str] | None = None

    def of(self, items: Sequence[StreamItem]) -> list[StreamItem]:
        """The items that are wanted. Ends and heartbeats always are."""
        if self.modes is None and self.namespaces is None:
            return list(items)
        wanted: list[StreamItem] = []
        after_gap = False
        for item in items:
            # The values that are told with a gap belong to it.
            if isinstance(item, Sentinel) or item.terminal or after_gap or self._has(item.event):
                wanted.append(item)
            after_gap = isinstance(item, StreamEvent) and item.event == "gap"
        return wanted

    def _has(self, event: str) -> bool:
        name, _, namespace = event.partition("|")
        # Frames of "messages" have names with a slash; the plain name is that of "messages-tuple".
        mode = "messages-tuple" if name == "messages" else name.partition("/")[0]
        return name in _ALWAYS or (
            (self.modes is None or mode in self.modes) and (self.namespaces is None or namespace in self.namespaces)
        )


EVERYTHING: Final = StreamChoice()
