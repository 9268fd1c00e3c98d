"""Environment of the tests and of every process that they start: variables and signals.

The machine's user may have set any variable: URLs and keys of other services, proxies, a locale, a time zone,
options for Python, node or PostgreSQL. Only the variables named here reach a test; all others are removed or fixed.
Shells start background commands with signals ignored, and processes inherit that.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Final

_CERTIFICATES: Final = Path(__file__).parent / "servers" / "unrelated.pem"
_OWN_PREFIX: Final = "RUNSTEAD_"

KEPT: Final = frozenset(
    {
        "CI",
        # Required by some interpreters and tools to start at all.
        "DYLD_LIBRARY_PATH",
        "LD_LIBRARY_PATH",
        "PATH",
        "TMPDIR",
        # For pytest's own output.
        "PY_COLORS",
        "RUNSTEAD_LONG",
        "STORM_SEED",
    }
)
KEPT_PREFIXES: Final = ("PYTEST_", "RUNSTEAD_SIM_", "RUNSTEAD_TEST_")
FIXED: Final = {
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    # No test calls an external host, and reading one certificate takes less time than reading the machine's hundreds.
    "SSL_CERT_FILE": str(_CERTIFICATES),
}


_machine: Final[dict[str, str]] = {}


def machine_environment() -> dict[str, str]:
    """Return the variables that the machine's user has set: for installing packages, never for a program under test."""
    return _machine or dict(os.environ)


def isolated(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return the variables that tests run with, given those of the machine's user."""
    kept = {name: value for name, value in environ.items() if name in KEPT or name.startswith(KEPT_PREFIXES)}
    return {**kept, **FIXED, "HOME": str(home)}


def isolate(environ: MutableMapping[str, str] = os.environ) -> None:
    """Reduce this process's variables to those of `isolated`, with a new home directory that is removed at exit."""
    _machine.update(environ)
    home = Path(tempfile.mkdtemp(prefix="runstead-home-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    wanted = isolated(environ, home)
    for name in environ.keys() - wanted.keys():
        del environ[name]
    environ.update(wanted)
    time.tzset()
    heed_signals()


def heed_signals() -> None:
    """Let Ctrl-C, Ctrl-\\ and a lost terminal end this process and those that it starts, as they do by default."""
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGQUIT, signal.SIG_DFL),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def child_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables for a program under test: this process's without settings of Runstead, and ``more``."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith(_OWN_PREFIX)}, **(more or {})}
