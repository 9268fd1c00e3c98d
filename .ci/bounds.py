"""Compare the lower bounds of pyproject.toml with what is installed, and fail where a bound is lower.

  VENV/bin/python -I .ci/bounds.py

For an environment of the lowest versions: a bound that another package's requirements exceed was never tried, so that
nothing says whether it is true.
"""

from __future__ import annotations

import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.version import Version

PYPROJECT: Final = Path(__file__).resolve().parents[1] / "pyproject.toml"
# Those of the tests' own tools concern nobody who installs Runstead.
EXTRAS: Final = ("postgres", "redis", "cluster")


def untried(project: dict[str, object], extras: tuple[str, ...]) -> list[str]:
    """Return a line for each lower bound that is lower than what is installed."""
    dependencies = project["dependencies"]
    optional = project["optional-dependencies"]
    assert isinstance(dependencies, list)
    assert isinstance(optional, dict)
    found = []
    for text in [*dependencies, *(one for extra in extras for one in optional[extra])]:
        requirement = Requirement(text)
        if requirement.name == project["name"] or (requirement.marker and not requirement.marker.evaluate()):
            continue
        bounds = [Version(one.version) for one in requirement.specifier if one.operator == ">="]
        installed = Version(metadata.version(requirement.name))
        if not bounds or max(bounds) < installed:
            found.append(f"{text}: {installed} is the lowest that was tried")
    return found


def main() -> int:
    """Print what was found."""
    found = untried(tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"], EXTRAS)
    if found:
        print("\n  ".join(["runstead: bounds in pyproject.toml that are not tried:", *found]), file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
