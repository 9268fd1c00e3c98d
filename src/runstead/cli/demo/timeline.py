"""Timeline of events, printed as they happen and again at the end."""

from __future__ import annotations

import time

from runstead.cli.output import Output


class Timeline:
    """Timeline in seconds since its creation."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._began = time.monotonic()
        self._entries: list[tuple[float, str]] = []

    def note(self, text: str, *, style: str = "bold") -> None:
        at = time.monotonic() - self._began
        self._entries.append((at, text))
        self._output.line("timeline", at=round(at, 3), what=text)
        self._output.say(f"[{at:5.1f} s] {text}", style=style)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def show(self) -> None:
        """Print the timeline as a table; with --json, its lines were already printed."""
        if self._output.as_json:
            return
        from rich.table import Table

        table = Table(title="What happened when", title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("seconds", justify="right")
        table.add_column("what")
        for at, text in self._entries:
            table.add_row(f"{at:.2f}", text)
        self._output.console.print(table)
