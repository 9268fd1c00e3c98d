"""Power cuts: a server process of which only the data synced to disk remains."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from .server import ServerProcess

_SOURCE: Final = Path(__file__).with_name("power_cut.c")
# A normally started process: the library must be loaded before anything else.
_PROGRAM: Final = "from runstead.cli.__main__ import main\nmain()\n"


def power_cut_library(folder: Path) -> Path:
    """Compile the library that tracks synced data. Without a C compiler the test is skipped, and fails in CI."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        if os.environ.get("CI") == "true":
            pytest.fail("missing: a C compiler; apt-get install gcc libc6-dev brings it")
        pytest.skip("missing: a C compiler; apt-get install gcc libc6-dev brings it")
    library = folder / "power_cut.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl", "-lpthread"], check=True
    )
    return library


class UnpluggableServer(ServerProcess):
    """An embedded server whose power can be cut."""

    def __init__(self, folder: Path, library: Path, **options: Any) -> None:
        self._disk = folder / "disk"
        self._disk.mkdir(parents=True)
        data = (folder / "data").resolve()
        environ = {"LD_PRELOAD": str(library), "POWER_CUT_DATA": str(data), "POWER_CUT_DISK": str(self._disk)}
        super().__init__(data, program=_PROGRAM, environ=environ, **options)

    def cut_power(self) -> None:
        """Kill the process and restore its files to their last synced content."""
        self.kill()
        shutil.rmtree(self.data_dir)
        shutil.copytree(self._disk, self.data_dir)
