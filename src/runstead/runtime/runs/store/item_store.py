"""Port of the item store for the kernel, beyond the BaseStore that graphs use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..types import Holder


class FenceableStore(Protocol):
    """Store that can refuse the writes of an attempt that has lost its run."""

    def fenced(self, check: Callable[[], object], holder: Holder) -> Any:
        """Return the same store for one holder. ``check`` is called from any thread before each write, in its
        transaction; its error is raised to the caller of the write, and nothing is written.

        A store that shares the runs' database also checks there, in the same transaction, that ``holder`` still holds
        the run, and raises LeaseLost if it does not.
        """
        ...
