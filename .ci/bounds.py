"""Compare the lower bounds of pyproject.toml with the installed versions, and fail if a bound is lower.

  VENV/bin/python -I .ci/bounds.py

For an environment of the lowest versions: a bound that is lower than another package's requirement was never installed,
and so never tested.
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
# Users of Runstead do not install the test tools.
EXTRAS: Final = ("postgres", "redis", "cluster")


def untried(project: dict[str, object], extras: tuple[str, ...]) -> list[str]:
    """Return a line for each lower bound that is lower than the installed version."""
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
            found.append(f"{text}: {installed} is the lowest tested version")
    return found


def main() -> int:
    """Print the findings."""
    found = untried(tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"], EXTRAS)
    if found:
        print("\n  ".join(["runstead: untested bounds in pyproject.toml:", *found]), file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
