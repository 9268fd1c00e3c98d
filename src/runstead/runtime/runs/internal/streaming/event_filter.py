"""Filter of a run's events by stream mode and namespace. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from runstead.runtime.stream_bridge.contract import Sentinel, StreamEvent, StreamItem

_ALWAYS: Final = frozenset({"metadata", "error", "gap", "budget_warning"})
"""Events that every filter passes."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Filter by ``modes`` and ``namespaces``; None passes all.

    A namespace is the part after ``|`` in an event's name; the root's is empty. Each namespace matches exactly, without
    its children.
    """

    modes: Collection[str] | None = None
    namespaces: Collection[str] | None = None

    def apply(self, items: Sequence[StreamItem]) -> list[StreamItem]:
        """Return the items that pass the filter. Terminal events, sentinels and heartbeats always pass."""
        if self.modes is None and self.namespaces is None:
            return list(items)
        wanted: list[StreamItem] = []
        after_gap = False
        for item in items:
            # The values event that follows a gap belongs to the gap.
            if isinstance(item, Sentinel) or item.terminal or after_gap or self._accepts(item.event):
                wanted.append(item)
            after_gap = isinstance(item, StreamEvent) and item.event == "gap"
        return wanted

    def _accepts(self, event: str) -> bool:
        name, _, namespace = event.partition("|")
        # `messages` events have names with a slash; the plain name `messages` belongs to `messages-tuple`.
        mode = "messages-tuple" if name == "messages" else name.partition("/")[0]
        return name in _ALWAYS or (
            (self.modes is None or mode in self.modes) and (self.namespaces is None or namespace in self.namespaces)
        )


ALL_EVENTS: Final = EventFilter()
