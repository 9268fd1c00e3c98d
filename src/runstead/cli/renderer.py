"""Live view of a run: tokens as they arrive, tool calls, results, questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import assert_never

from .output import Output
from .transcript import Begun, Calling, Failed, Gap, Interrupt, Item, Noted, Returned, Said, compact

_WIDTH = 400


class RunRenderer:
    """Text view for people. Tokens are printed one by one, so a line is often still open when another item arrives."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._open: str | None = None

    def show(self, item: Item) -> None:
        match item:
            case Begun(attempt=1):
                self.remark(f"run {item.run_id} started")
            case Begun():
                self.remark(f"attempt {item.attempt}: resumed from its last checkpoint", style="bold yellow")
            case Said():
                self._continue(f"said {item.message_id}", "ai      ", item.text, "green")
            case Calling():
                # A name begins a call; its arguments follow in pieces.
                if item.name:
                    self.end_line()
                self._continue("calling", f"calls   {item.name or ''} ", item.arguments, "cyan")
            case Returned():
                self._line("failed  " if item.failed else "returns ", f"{item.name} {item.text}", "cyan")
            case Noted():
                self._line("event   ", f"{item.source} {compact(item.value)}", "dim")
            case Interrupt():
                for question in _questions(item.value):
                    self._line("asks    ", question, "magenta")
            case Gap():
                missed = f"{item.missed} events" if item.missed else "some events"
                self.remark(f"{missed} are no longer kept; continuing from the state", style="yellow")
            case Failed():
                self._line("failed  ", f"{item.error}: {item.message}", "bold red")
            case _:
                assert_never(item)

    def remark(self, text: str, style: str = "dim") -> None:
        """Print a line about the run, instead of its content."""
        self.end_line()
        self._output.say(f"-- {text}", style=style)

    def end_line(self) -> None:
        if self._open is not None:
            self._output.say()
            self._open = None

    def _continue(self, what: str, label: str, text: str, style: str) -> None:
        if self._open != what:
            self.end_line()
            self._output.say(label, style="bold " + style, end="")
            self._open = what
        self._output.say(text, style=style, end="")

    def _line(self, label: str, text: str, style: str) -> None:
        self.end_line()
        self._output.say(label, style=style if style.startswith("bold") else f"bold {style}", end="")
        self._output.say(text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…", style=style)


def _questions(value: object) -> Iterator[str]:
    """Yield an interrupt's questions in short form: the actions of a request for approval, or the value itself."""
    actions = value.get("action_requests") if isinstance(value, Mapping) else None
    if not isinstance(actions, list):
        yield compact(value)
        return
    for action in actions:
        yield f"{action.get('name')} {compact(action.get('args'))}? {action.get('description') or ''}".rstrip()
