"""Check that a wheel and an sdist have all files of the package: ``.ci/distribution.py dist``."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from zipfile import ZipFile

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = "runstead/"
NEEDED: Final = ("runstead/py.typed", "runstead/__init__.pyi", "runstead/console/index.html")
POINTS: Final = ("runstead = runstead.cli.main:main", "runstead = runstead.testing.pytest_plugin")


def problems_of_wheel(wheel: Path, tracked: Iterable[str]) -> list[str]:
    """Return what a wheel lacks, or has too much. ``tracked``: files of the package, relative to ``src``."""
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        points = next((archive.read(name).decode() for name in names if name.endswith("/entry_points.txt")), "")
    found = [f"{wheel.name} has no {name}" for name in sorted({*tracked, *NEEDED} - names)]
    extra = sorted(name for name in names - set(tracked) if ".dist-info/" not in name)
    found += [f"{wheel.name} has {name}, which is not in the repository" for name in extra]
    return found + [f"{wheel.name} has no entry point {point}" for point in POINTS if point not in points]


def problems_of_sdist(sdist: Path, tracked: Iterable[str]) -> list[str]:
    """Return what an sdist lacks."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {f"src/{name}" for name in tracked} | {"pyproject.toml", "README.md", "LICENSE"}
    return [f"{sdist.name} has no {name}" for name in sorted(wanted - names)]


def main() -> int:
    dist = Path(sys.argv[1])
    listed = subprocess.run(
        ["git", "-C", ROOT / "src", "ls-files", PACKAGE], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    found = [problem for wheel in dist.glob("*.whl") for problem in problems_of_wheel(wheel, listed)]
    found += [problem for sdist in dist.glob("*.tar.gz") for problem in problems_of_sdist(sdist, listed)]
    print("\n".join(found) or f"{dist}: all {len(listed)} files of the package")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
