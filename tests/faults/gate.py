"""A gate controlled by a test, visible to agent code on any loop or process."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Gate:
    """Closed until `open`."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def open(self) -> None:
        self._file.touch()

    @property
    def input(self) -> dict[str, Any]:
        """Input for a run of the graph ``gated`` that waits at this gate."""
        return {"messages": [{"role": "user", "content": "go"}], "gate": str(self._file)}
