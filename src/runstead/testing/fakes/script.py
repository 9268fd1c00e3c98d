"""The script of a fake agent for one run, as JSON, so that it fits into a RunSpec's input and into a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

from runstead.runtime.json_types import JsonMapping, JsonObject

StepAction: TypeAlias = Literal["say", "fail", "ask", "hang"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a graph: it takes ``takes`` seconds and streams ``chunks`` tokens meanwhile.

    After that, ``say`` continues, ``fail`` raises, ``ask`` interrupts for human input, ``hang`` never ends by itself.
    """

    does: StepAction = "say"
    takes: float = 0.0
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class Script:
    """The steps of one run. ``label`` names their entries in the state's log, the same for every attempt."""

    label: str
    steps: Sequence[Step] = (Step(),)

    def to_input(self) -> JsonObject:
        """Return the script as the ``input`` of a RunSpec."""
        return {"label": self.label, "steps": [asdict(step) for step in self.steps]}

    @classmethod
    def from_input(cls, value: JsonMapping) -> Script:
        return cls(value["label"], tuple(Step(**step) for step in value["steps"]))

    @property
    def undisturbed(self) -> int:
        """Return the number of steps that a run finishes without disturbances and without answers."""
        return next((number for number, step in enumerate(self.steps) if step.does != "say"), len(self.steps))

    def entries(self, first: int = 0, last: int | None = None, answer: object = None) -> list[str]:
        """Return the log entries of an undisturbed run between two steps."""
        numbered = list(enumerate(self.steps))[first:last]
        return [entry(self.label, number, step, answer) for number, step in numbered]


def entry(label: str, number: int, step: Step, answer: object = None) -> str:
    """Return the log line of one finished step."""
    return f"{label}.{number}={answer}" if step.does == "ask" else f"{label}.{number}"
