"""A simulation of the whole kernel in one process, on fakes and virtual time, with seeded random schedules."""

from .loop import EPOCH, LoopClock, VirtualTimeLoop
from .plan import Plan
from .schedule import Schedule, Verdict, run_schedule
from .workload import draw
from .world import Deadlock, NotQuiescent, Process, World

__all__ = [
    "EPOCH",
    "Deadlock",
    "LoopClock",
    "NotQuiescent",
    "Plan",
    "Process",
    "Schedule",
    "Verdict",
    "VirtualTimeLoop",
    "World",
    "draw",
    "run_schedule",
]
