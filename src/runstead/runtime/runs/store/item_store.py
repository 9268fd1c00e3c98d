"""Port: what the kernel asks of the store for items beyond what a graph does with it (langgraph's BaseStore)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..types import Holder


class FenceableStore(Protocol):
    """A store whose writes can be refused to an attempt that has lost its run."""

    def fenced(self, check: Callable[[], object], holder: Holder) -> Any:
        """The same store for one holder. ``check`` is called from any thread, before each write, and in its
        transaction; what it raises is raised to who writes, and nothing is written.

        A store that shares its storage with the runs asks there too, in the same transaction, whether the run is still
        ``holder``'s, and raises LeaseLost when it is not.
        """
        ...
