"""A gate in a test's hand, seen by agent code on whatever loop or process it runs."""

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
        """The input of a run of the graph ``gated`` that stops here."""
        return {"messages": [{"role": "user", "content": "go"}], "gate": str(self._file)}
