"""Make docs/images/terminal.svg: a terminal from ``runstead init`` to an approval, recorded from the real commands.

``make recording`` runs it. The picture loads nothing, and moves only where readers have not asked for less motion.
Paths of this machine are replaced by ``~``, and the port by the default one.
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Final

from rich.color import ColorType
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT: Final = Path(__file__).resolve().parent.parent
PICTURE: Final = ROOT / "docs" / "images" / "terminal.svg"
COLUMNS: Final = 96
_PORT: Final = 2024
_LONGEST: Final = 120.0
_CELL: Final = 8.4
_LINE: Final = 20
_MARGIN: Final = 16
_PAUSE: Final = 0.9
"""Seconds before a command appears in the picture."""
_CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[A-HJKSTfhlnsu]|\x1b\][^\x07]*\x07|\r")


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, command: Sequence[str], folder: Path, environ: dict[str, str]) -> None:
        self.shown = ""
        leader, follower = pty.openpty()
        self._leader = leader
        self._process = subprocess.Popen(
            command, cwd=folder, env=environ, stdin=follower, stdout=follower, stderr=follower, start_new_session=True
        )
        os.close(follower)

    def wait_for(self, text: str) -> None:
        """Read until ``text`` is shown."""
        until = time.monotonic() + _LONGEST
        while text not in self.shown:
            if time.monotonic() > until or not self._read():
                raise SystemExit(f"{text!r} was not shown, but:\n{self.shown}")

    def press(self, keys: str) -> None:
        os.write(self._leader, keys.encode())

    def rest(self) -> str:
        """Read to the end of the command."""
        while self._read():
            pass
        self._process.wait(_LONGEST)
        return self.shown

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self.rest()
        os.close(self._leader)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._leader], [], [], 0.2)
        if ready:
            try:
                said = os.read(self._leader, 65536)
            except OSError:
                # Linux reports the end of the other side as an error.
                return False
            self.shown += said.decode(errors="replace")
            return bool(said)
        return self._process.poll() is None


@dataclass
class Recording:
    """Lines of the picture, each with the second at which it appears."""

    replaced: dict[str, str]
    lines: list[tuple[float, Text]] = field(default_factory=list)
    _now: float = 0.0

    def command(self, text: str) -> None:
        if self.lines:
            self._add(Text(), 0.0)
        self._add(Text.assemble(("$ ", "bold green"), (text, "bold")), _PAUSE)

    def output(self, shown: str) -> None:
        shown = _CONTROL.sub("", shown)
        for before, after in self.replaced.items():
            shown = shown.replace(before, after)
        for line in shown.rstrip("\n").split("\n"):
            text = Text.from_ansi(line.rstrip())
            for part in text.wrap(Console(width=COLUMNS), COLUMNS) if text.plain else [text]:
                part.rstrip()
                self._add(part, 0.12)

    def _add(self, text: Text, seconds: float) -> None:
        self._now += seconds
        self.lines.append((self._now, text))


def record(folder: Path) -> Recording:
    """Run the commands, and return what the terminal showed."""
    home, port = folder / "home", _free_port()
    home.mkdir()
    bin_folder = Path(sys.executable).parent
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RUNSTEAD_", "PYTHON"))}
    environ = kept | {
        "HOME": str(home), "XDG_DATA_HOME": str(home / ".local" / "share"), "COLUMNS": str(COLUMNS), "LINES": "40",
        "TERM": "xterm-256color", "RUNSTEAD_PORT": str(port), "PATH": f"{bin_folder}:{os.environ['PATH']}",
    }  # fmt: skip
    recording = Recording({str(home): "~", f" --url http://127.0.0.1:{port}": "", f":{port}": f":{_PORT}"})
    project = home / "my-agent"

    def run(text: str, command: Sequence[str], where: Path) -> None:
        recording.command(text)
        recording.output(Terminal(command, where, environ).rest())

    run("runstead init my-agent", ["runstead", "init", "my-agent"], home)
    dev = Terminal(["runstead", "dev"], project, environ)
    dev.wait_for("  try ")
    dev.wait_for("\n")
    try:
        recording.command("cd my-agent && runstead dev &")
        # Without the Python code that follows, and without the time of the start, which depends on the machine.
        banner = dev.shown.replace("\r", "").partition("\n\n")[0]
        recording.output("\n".join(line for line in banner.splitlines() if "ready in" not in line))
        recording.command('runstead run agent "Greet Ada"')
        asking = Terminal(["runstead", "run", "agent", "Greet Ada"], project, environ)
        asking.wait_for("reject")
        asking.press("y\n")
        recording.output(asking.rest())
        run("runstead runs ls", ["runstead", "runs", "ls"], project)
    finally:
        dev.stop()
    return recording


def picture(recording: Recording) -> str:
    """Return the recording as SVG."""
    width = int(COLUMNS * _CELL + 2 * _MARGIN)
    height = (len(recording.lines) + 1) * _LINE + 2 * _MARGIN
    body = "\n".join(
        _line(text, seconds, _MARGIN + 28 + number * _LINE)
        for number, (seconds, text) in enumerate(recording.lines)
        if text.plain
    )
    dots = "".join(
        f'<circle cx="{_MARGIN + 6 + 18 * number}" cy="18" r="5" fill="{color}"/>'
        for number, color in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"
 role="img" aria-label="A terminal: runstead init, dev, a run that asks for an approval, and the list of runs">
<style>
text {{ font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #d9d9d9; white-space: pre }}
.b {{ font-weight: bold }}
.d {{ opacity: .6 }}
@media (prefers-reduced-motion: no-preference) {{ .l {{ animation: show .05s both }} }}
@keyframes show {{ from {{ opacity: 0 }} }}
</style>
<rect width="{width}" height="{height}" rx="8" fill="#1b1d1e"/>{dots}
{body}
</svg>
"""


def _line(text: Text, seconds: float, y: int) -> str:
    spans = []
    for segment in text.render(Console(width=COLUMNS)):
        if not segment.text.strip("\n"):
            continue
        style = segment.style or Style.null()
        classes = " ".join(name for name, on in (("b", style.bold), ("d", style.dim)) if on)
        color = ""
        if style.color is not None and style.color.type is not ColorType.DEFAULT:
            color = f' fill="{style.color.get_truecolor(MONOKAI).hex}"'
        named = f' class="{classes}"' if classes else ""
        spans.append(f"<tspan{named}{color}>{escape(segment.text)}</tspan>" if named or color else escape(segment.text))
    length = f'textLength="{text.cell_len * _CELL:.1f}" lengthAdjust="spacingAndGlyphs"'
    return (
        f'<g class="l" style="animation-delay:{seconds:.2f}s"><text x="{_MARGIN}" y="{y}" xml:space="preserve" '
        f"{length}>{''.join(spans)}</text></g>"
    )


def _free_port() -> int:
    for wanted in (_PORT, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SystemExit("no port is free")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PICTURE)
    out: Path = parser.parse_args().out
    with tempfile.TemporaryDirectory(prefix="runstead-recording-") as folder:
        made = picture(record(Path(folder)))
    out.write_text(made, encoding="utf-8")
    print(f"{out}: {len(made):,} bytes")


if __name__ == "__main__":
    main()
