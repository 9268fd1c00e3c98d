"""Output of commands: text for people, or one JSON object per line for programs.

Results go to standard output, remarks and errors to standard error. With ``--json``, errors are lines like any other,
so that a program reads a single stream.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Final

from .prompt import read_line

if TYPE_CHECKING:
    from rich.console import Console

FAILED: Final = 1
USAGE: Final = 2
NEEDS_HUMAN: Final = 3
CANCELLED: Final = 130
_WIDE: Final = 120
"""Columns from which on a table has room for whole ids."""
_SHORTEST_ID: Final = 13
_NARROWEST: Final = 5
"""Width to which a column of a table is cut at most, unless its texts are shorter."""
_LAST: Final = 8
"""Width of the last column before others are cut for it."""


class CommandError(Exception):
    """A command cannot continue: the problem, the fix, and the exit code."""

    def __init__(self, problem: str, way_out: str | None = None, *, exit_code: int = FAILED) -> None:
        self.problem, self.hint, self.exit_code = problem, way_out, exit_code
        super().__init__(problem)


class Output:
    """Output in one of the two forms. ``width`` is the number of columns for tables; None: those of the terminal."""

    def __init__(self, *, as_json: bool = False, width: int | None = None) -> None:
        self.as_json, self._width = as_json, width

    @cached_property
    def console(self) -> Console:
        from rich.console import Console

        # Text of users and models is printed literally: no markup, no detection of links and numbers. A pipe has no
        # width, so nothing is truncated there.
        width = self._width or (None if sys.stdout.isatty() else 240)
        return Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=width)

    def line(self, event: str, **fields: object) -> None:
        """Print one JSON object, only with ``--json``."""
        if self.as_json:
            text = json.dumps({"event": event, **fields}, ensure_ascii=False, default=str)
            # A lone surrogate in a user's message must not end the command.
            sys.stdout.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")
            sys.stdout.flush()

    def say(self, text: str = "", *, style: str | None = None, end: str = "\n") -> None:
        """Print text for people, only without ``--json``."""
        if not self.as_json:
            self.console.print(text.encode("utf-8", "backslashreplace").decode("utf-8"), style=style, end=end)

    def table(self, titles: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
        """Print a table in the width of the terminal; ``empty`` if there are no rows.

        The last column is cut off; if it would be too narrow, the widest of the others too, but never the first, which
        has the ids.
        """
        for number, line in enumerate(self.lines(titles, rows, empty=empty)):
            self.say(line, style="bold" if rows and not number else None)

    def lines(self, titles: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> list[str]:
        """Return the lines of a table; see `table`."""
        if not rows:
            return [empty]
        from rich.cells import cell_len, set_cell_size

        # One row is one line, whatever the texts contain.
        lines = [titles, *([" ".join(cell.split()) for cell in row] for row in rows)]
        widths = _fitting([max(map(cell_len, column)) for column in zip(*lines, strict=True)], self.console.width)

        def cut(cell: str, width: int) -> str:
            return cell if cell_len(cell) <= width else set_cell_size(cell, width - 1).rstrip() + "…"

        return [
            "  ".join(set_cell_size(cut(cell, width), width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]

    @contextmanager
    def live(self) -> Iterator[Callable[[Sequence[str]], None]]:
        """Yield a function that shows lines in place of those before, or below them where there is no terminal."""
        if self.as_json:
            yield lambda lines: None
        elif not self.console.is_terminal:
            yield lambda lines: self.say("\n".join(lines))
        else:
            from rich.live import Live
            from rich.text import Text

            with Live(console=self.console, auto_refresh=False, transient=False) as live:
                yield lambda lines: live.update(Text("\n".join(lines), no_wrap=True), refresh=True)

    def short_ids(self, ids: Sequence[str]) -> dict[str, str]:
        """Return for each id what a table shows: all of it where there is room, else its shortest unique beginning."""
        if self.console.width >= _WIDE:
            return {one: one for one in ids}
        # Ids begin with their time: those of the same minute differ after the eighth character.
        length = next(
            (n for n in range(_SHORTEST_ID, 37) if len({one[:n] for one in ids}) == len(set(ids))), _SHORTEST_ID
        )
        return {one: one[:length].rstrip("-") for one in ids}

    def ask(self, question: str) -> str:
        """Ask a question and return the typed line. Raises KeyboardInterrupt on Ctrl-C, EOFError on Ctrl-D."""
        # Printed literally; the console's own prompt would take text in brackets for markup.
        return read_line(lambda: self.console.print(question, end=""))

    def error(self, problem: str, way_out: str | None = None) -> None:
        """Print an error, in either form."""
        if self.as_json:
            self.line("error", error=problem, way_out=way_out)
            return
        sys.stderr.write(f"error: {problem}\n" + (f"       {way_out}\n" if way_out else ""))
        sys.stderr.flush()

    @contextmanager
    def handle_errors(self) -> Iterator[None]:
        """Print a CommandError of the block, and exit with its exit code."""
        try:
            yield
        except CommandError as error:
            self.error(error.problem, error.hint)
            raise SystemExit(error.exit_code) from error
        except BrokenPipeError:
            # `runstead runs ls | head`: the reader has closed the pipe.
            sys.stderr.close()
            raise SystemExit(0) from None


def _fitting(widths: Sequence[int], room: int) -> list[int]:
    """Return widths of columns, with two spaces between them, that fit into ``room`` if that is possible."""
    room -= 2 * (len(widths) - 1)
    fitted = [*widths[:-1], min(widths[-1], max(room - sum(widths[:-1]), _LAST))]
    while sum(fitted) > room and len(fitted) > 1:
        widest = max(range(1, len(fitted)), key=fitted.__getitem__)
        if fitted[widest] <= _NARROWEST:
            break
        fitted[widest] -= 1
    return fitted
