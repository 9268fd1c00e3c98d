"""Questions at the terminal and Ctrl-C."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from .processes import CTRL_C, Terminal

ASKS = """
from runstead.cli.output import Output
for n in range(300):
    try:
        Output().ask(f"question {n}? ")
    except KeyboardInterrupt:
        print(f"left {n}.", flush=True)
print(Output().ask("last? "))
"""


def test_ctrl_c_ends_a_question_however_early_it_comes(home: Path) -> None:
    with closing(Terminal([sys.executable, "-c", ASKS], cwd=home, home=home)) as asking:
        for n in range(300):
            asking.wait_for(f"question {n}? ")
            asking.press(CTRL_C)
            asking.wait_for(f"left {n}.")
        asking.wait_for("last? ")
        asking.press("typed\r")
        asking.wait_for("typed\r\ntyped")
        assert asking.end() == 0
