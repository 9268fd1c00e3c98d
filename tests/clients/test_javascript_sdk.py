"""The published JavaScript SDK under node: both release lines, and all their methods."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from .conftest import Suites
from .node import CLIENTS, Node
from .suite import titles_of

SDKS = {"1.15.0": "@langchain/langgraph-sdk", "2.0.0": "langgraph-sdk-2"}
"""Package by version. 2.0.0 is the highest number on npm; its code is older than that of 1.15.0."""
_ONLY_NEWER = "newer"
"""The directory with tests of methods missing in 2.0.0."""


class Case(NamedTuple):
    version: str
    transport: str
    file: Path
    title: str

    @property
    def id(self) -> str:
        return " ".join(part for part in (self.version, self.transport, self.title) if part)


def files_of(version: str) -> list[Path]:
    files = sorted((CLIENTS / "sdk").rglob("*.test.mjs"))
    return [file for file in files if version == "1.15.0" or file.parent.name != _ONLY_NEWER]


def cases() -> list[Case]:
    return [
        Case(version, transport, file, title)
        for version in SDKS
        for file in files_of(version)
        for transport in (("sse", "websocket") if file.name == "streams.test.mjs" else ("",))
        for title in titles_of(file)
    ]


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
def test_sdk(case: Case, suites: Suites, url: str, request: pytest.FixtureRequest) -> None:
    check_sdk(case, suites, url, request)


def check_sdk(case: Case, suites: Suites, url: str, request: pytest.FixtureRequest) -> None:
    chosen = [item.callspec.params.get("case") for item in request.session.items if hasattr(item, "callspec")]
    titles = [each.title for each in chosen if isinstance(each, Case) and each[:3] == case[:3]]
    variables = {"SDK": SDKS[case.version], "TRANSPORT": case.transport, "SERVER_URL": url}
    suites(case.file, variables, titles).check(case.title, case.id)


@pytest.mark.parametrize("version", SDKS)
def test_every_method_has_a_test(version: str, node: Node) -> None:
    done = subprocess.run(
        [node.node, CLIENTS / "sdk" / "methods.mjs"],
        env={**node.environment, "SDK": SDKS[version]},
        capture_output=True,
        text=True,
        check=True,
    )
    methods = set(json.loads(done.stdout))
    tested = {title.split(":")[0] for file in files_of(version) for title in titles_of(file)}
    assert methods - tested == set()
    assert {name for name in tested if "." in name} - methods == set(), "tests of methods that are not there"
