"""docs/clients.md names the client versions that the tests run."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
# A package of npm, and the version (or two) after it, on either side of a table's bar.
_NPM = re.compile(r"(@[a-z-]+/[a-z-]+)[^|@]*?\)?(?: \| | )(\d+\.\d+\.\d+)(?: and (\d+\.\d+\.\d+))?")
_PYTHON = re.compile(
    r"\| (langgraph-sdk) \(Python\) \| (\S+) \||\| RemoteGraph \| (langgraph) (\S+) \||(deepagents) async[^|]*\| (\S+) "
)


def table() -> str:
    page = (ROOT / "docs" / "clients.md").read_text()
    return "\n".join(line for line in page.splitlines()[:40] if line.startswith("|"))


def named_npm() -> Iterator[tuple[str, str]]:
    for package, *versions in _NPM.findall(table()):
        yield from (
            (package.replace("langgraph-sdk/react", "langgraph-sdk"), version) for version in versions if version
        )


def test_npm_versions_on_the_page_are_those_of_the_tests() -> None:
    wanted = json.loads((ROOT / "tests" / "clients" / "package.json").read_text())["dependencies"]
    tested = {(name, version) for name, version in wanted.items() if not version.startswith("npm:")}
    tested |= {tuple(version.removeprefix("npm:").rsplit("@", 1)) for version in wanted.values() if "npm:" in version}
    named = set(named_npm())
    assert len(named) >= 7
    assert named <= tested


def test_python_versions_on_the_page_are_those_of_the_lock_file() -> None:
    locked = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    tested = {package["name"]: package.get("version") for package in locked}
    named = [[part for part in found if part] for found in _PYTHON.findall(table())]
    assert [name for name, _ in named] == ["langgraph-sdk", "langgraph", "deepagents"]
    assert dict(named) == {name: tested[name] for name, _ in named}
